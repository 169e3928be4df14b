import { ChangeDetectionStrategy, Component, input } from '@angular/core';

import type { Transfer } from '../wire/frame';
import type { Currency, Money } from '../wire/money';
import { TransferRow } from './transfer-row';

/** Some rows that are laid out together, and only while they are in sight. */
@Component({
  selector: 'lb-transfer-group',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [TransferRow],
  host: { role: 'presentation', '[style.--rows]': 'rows().length' },
  template: `
    @for (row of rows(); track row.id) {
      <lb-transfer
        data-testid="transfer"
        [row]="row"
        [opening]="opening()"
        [currency]="currency()"
        [today]="today()"
        [class.news]="row.revision > seenFrom()"
      />
    }
  `,
})
export class TransferGroup {
  readonly rows = input.required<readonly Transfer[]>();
  readonly seenFrom = input.required<number>();
  readonly opening = input<Money | null>(null);
  readonly currency = input<Currency>(null);
  readonly today = input<string>();
}
