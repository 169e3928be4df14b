import { ChangeDetectionStrategy, Component, computed, inject, linkedSignal } from '@angular/core';
import type { Transfer } from '@livebalance/client';

import { AccountStore } from './account-store';
import { TransferGroup } from './transfer-group';
import { groupRows, type RowGroup } from './transfer-grouping';
import { dateOf } from './transfer-row';

/** The list of transfers, newest first, and a button that loads older transfers. */
@Component({
  selector: 'lb-transfers',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [TransferGroup],
  templateUrl: './transfers.html',
})
export class Transfers {
  protected readonly account = inject(AccountStore);
  protected readonly state = this.account.state;
  protected readonly rows = computed(() => this.state()?.rows ?? []);
  protected readonly groups = linkedSignal<readonly Transfer[], readonly RowGroup[]>({
    source: this.rows,
    computation: (rows, previous) => groupRows(rows, previous?.value),
  });
  protected readonly highlightAbove = computed(() => this.state()?.highlightAbove ?? 0);
  protected readonly opening = computed(() => this.state()?.balance?.opening ?? null);
  protected readonly currency = computed(() => this.state()?.balance?.currency ?? null);
  protected readonly newestDate = computed(() => this.rows().slice(0, 1).map(dateOf)[0]);
  protected readonly complete = computed(() => this.state()?.older.kind === 'none');
}
