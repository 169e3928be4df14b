import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';
import { millis, plus, type Currency, type Money, type Transfer } from '@livebalance/client';

import { wording } from '../wording';
import { Amount } from './amount';
import { direction } from './amount-format';
import { formatDate, formatTime } from './dates';

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
  /** The reader's date. Rows of this date show only the time. */
  readonly today = input.required<string>();

  protected readonly direction = computed(() => direction(this.row().amount));
  protected readonly wording = wording.transfers;
  protected readonly time = computed(() => formatTime(millis(this.row().occurred_at)));
  protected readonly date = computed(() => formatDate(millis(this.row().occurred_at)));
  protected readonly balanceAfter = computed(() => {
    const opening = this.opening();
    return opening === null ? null : plus(opening, this.row().total);
  });
}
