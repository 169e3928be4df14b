import { ChangeDetectionStrategy, Component, computed, inject, input } from '@angular/core';
import { millis, plus, type Currency, type Money, type Transfer } from '@livebalance/client';

import { AccountAddress } from '../account-address';
import { Amount } from '../amount';
import { arrow, direction } from '../amount-format';
import { formatTime } from '../dates';

/** One transfer. The data attributes hold its unformatted values. */
@Component({
  selector: 'lb-transfer',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Amount],
  host: {
    role: 'row',
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
  readonly #address = inject(AccountAddress);
  readonly row = input.required<Transfer>();
  readonly opening = input<Money | null>(null);
  readonly currency = input<Currency>(null);

  protected readonly direction = computed(() => direction(this.row().amount));
  protected readonly arrow = computed(() => arrow(this.row().amount));
  protected readonly time = computed(() => formatTime(millis(this.row().occurred_at)));
  protected readonly balanceAfter = computed(() => {
    const opening = this.opening();
    return opening === null ? null : plus(opening, this.row().total);
  });

  /** Shows the details in the drawer. */
  protected open(): void {
    this.#address.change({ transfer: this.row().id });
  }
}
