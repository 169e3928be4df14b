import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';

import type { Transfer } from '../wire/frame';
import { millis } from '../wire/identity';
import { plus, type Currency, type Money } from '../wire/money';
import { direction } from './amount';
import { Amount } from './amount-text';

const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const date = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' });

/** The day of a transfer, in words. */
export const dayOf = (row: Transfer): string => date.format(millis(row.occurred_at));

/** One transfer; attributes hold the raw values. */
@Component({
  selector: 'lb-transfer',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Amount],
  host: {
    role: 'listitem',
    class: 'row',
    '[attr.data-id]': 'row().id',
    '[attr.data-revision]': 'row().revision',
    '[attr.data-amount]': 'row().amount',
    '[attr.data-total]': 'row().total',
    '[attr.data-direction]': 'direction()',
  },
  templateUrl: './transfer-row.html',
})
export class TransferRow {
  readonly row = input.required<Transfer>();
  readonly opening = input<Money | null>(null);
  readonly currency = input<Currency>(null);
  /** The day that goes without saying. */
  readonly today = input<string>();

  protected readonly direction = computed(() => direction(this.row().amount));
  protected readonly time = computed(() => time.format(millis(this.row().occurred_at)));
  protected readonly date = computed(() => dayOf(this.row()));
  protected readonly after = computed(() => {
    const opening = this.opening();
    return opening === null ? null : plus(opening, this.row().total);
  });
}
