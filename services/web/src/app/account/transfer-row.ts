import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';
import { millis, plus, type Currency, type Money, type Transfer } from '@livebalance/client';

import { Amount } from './amount';
import { direction } from './amount-format';

const timeFormat = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
});
const dateFormat = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' });

/** Returns the date of a transfer, formatted in the user's language. */
export const dateOf = (row: Transfer): string => dateFormat.format(millis(row.occurred_at));

/** One transfer. The data attributes hold its unformatted values. */
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
  /** The date of the newest transfer. Rows of this date show only the time. */
  readonly newestDate = input<string>();

  protected readonly direction = computed(() => direction(this.row().amount));
  protected readonly time = computed(() => timeFormat.format(millis(this.row().occurred_at)));
  protected readonly date = computed(() => dateOf(this.row()));
  protected readonly balanceAfter = computed(() => {
    const opening = this.opening();
    return opening === null ? null : plus(opening, this.row().total);
  });
}
