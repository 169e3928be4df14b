import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';

import type { Transfer } from '../wire/frame';
import { millis } from '../wire/identity';
import { plus, type Currency, type Money } from '../wire/money';
import { direction } from './amount';
import { Amount } from './amount-text';

const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const date = new Intl.DateTimeFormat(undefined, { day: '2-digit', month: 'short' });

/** One transfer; attributes hold the raw values. */
@Component({
  selector: 'li[lb-transfer]',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Amount],
  host: {
    class: 'row',
    '[attr.data-id]': 'row().id',
    '[attr.data-revision]': 'row().revision',
    '[attr.data-amount]': 'row().amount',
    '[attr.data-total]': 'row().total',
    '[attr.data-direction]': 'direction()',
  },
  template: `
    <time [attr.datetime]="row().occurred_at"
      >{{ time() }} <small>{{ date() }}</small></time
    >
    <span class="id" [attr.title]="row().source">{{ row().id }}</span>
    <lb-amount class="amount" [amount]="row().amount" [currency]="currency()" signs="always" />
    @if (after(); as balance) {
      <span class="after"
        ><span class="visually-hidden">balance then: </span
        ><lb-amount [amount]="balance" [currency]="currency()"
      /></span>
    }
  `,
})
export class TransferRow {
  readonly row = input.required<Transfer>();
  readonly opening = input<Money | null>(null);
  readonly currency = input<Currency>(null);

  protected readonly direction = computed(() => direction(this.row().amount));
  protected readonly time = computed(() => time.format(millis(this.row().occurred_at)));
  protected readonly date = computed(() => date.format(millis(this.row().occurred_at)));
  protected readonly after = computed(() => {
    const opening = this.opening();
    return opening === null ? null : plus(opening, this.row().total);
  });
}
