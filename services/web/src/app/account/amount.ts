import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';
import type { Currency, Money } from '@livebalance/client';

import { AmountFormat, type SignDisplay } from './amount-format';

const format = new AmountFormat();
/** Amounts with more characters may be wider than a phone, so their lines can break between groups of digits. */
const UNBROKEN_LENGTH = 16;

/** An exact amount, formatted in the user's language. */
@Component({
  selector: 'lb-amount',
  changeDetection: ChangeDetectionStrategy.OnPush,
  host: { '[class.breakable]': 'groups().length > 1' },
  // No white space may stand between the groups.
  template: `@for (group of groups(); track $index) {
    <span [textContent]="group"></span><wbr />
  }`,
})
export class Amount {
  readonly amount = input.required<Money>();
  readonly currency = input<Currency>(null);
  readonly signDisplay = input<SignDisplay>('negative');
  protected readonly groups = computed(() => {
    const text = format.format(this.amount(), this.currency(), this.signDisplay());
    return text.length > UNBROKEN_LENGTH ? text.split(/(?<=\d\D)(?=\d{3})/) : [text];
  });
}
