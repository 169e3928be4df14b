import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';
import type { Currency, Money } from '@livebalance/client';

import { AmountFormat, type SignDisplay } from './amount-format';

const format = new AmountFormat();

/** An exact amount, formatted in the user's language. */
@Component({
  selector: 'lb-amount',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `{{ text() }}`,
})
export class Amount {
  readonly amount = input.required<Money>();
  readonly currency = input<Currency>(null);
  readonly signDisplay = input<SignDisplay>('negative');
  protected readonly text = computed(() => format.format(this.amount(), this.currency(), this.signDisplay()));
}
