import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';

import type { Currency, Money } from '../wire/money';
import { AmountFormat, type Signs } from './amount';

const format = new AmountFormat();

/** An amount in the reader's language; exact. */
@Component({
  selector: 'lb-amount',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `{{ text() }}`,
})
export class Amount {
  readonly amount = input.required<Money>();
  readonly currency = input<Currency>(null);
  readonly signs = input<Signs>('negative');
  protected readonly text = computed(() => format.write(this.amount(), this.currency(), this.signs()));
}
