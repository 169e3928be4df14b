import { ChangeDetectionStrategy, Component, input } from '@angular/core';
import type { Currency, Money, Transfer } from '@livebalance/client';

import { TransferRow } from './transfer-row';

/** A group of rows that the browser lays out only while it is in view (CSS `content-visibility`). */
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
        [class.new]="row.revision > highlightAbove()"
      />
    }
  `,
})
export class TransferGroup {
  readonly rows = input.required<readonly Transfer[]>();
  readonly highlightAbove = input.required<number>();
  readonly opening = input<Money | null>(null);
  readonly currency = input<Currency>(null);
  readonly today = input.required<string>();
}
