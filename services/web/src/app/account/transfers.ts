import { ChangeDetectionStrategy, Component, computed, inject, linkedSignal } from '@angular/core';

import type { Transfer } from '../wire/frame';
import { grouped, type Group } from './groups';
import { Account } from './store';
import { TransferGroup } from './transfer-group';
import { dayOf } from './transfer-row';

/** The transfers, newest first, and the way to the older ones. */
@Component({
  selector: 'lb-transfers',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [TransferGroup],
  templateUrl: './transfers.html',
})
export class Transfers {
  protected readonly account = inject(Account);
  protected readonly ledger = this.account.ledger;
  protected readonly rows = computed(() => this.ledger()?.rows ?? []);
  protected readonly groups = linkedSignal<readonly Transfer[], readonly Group[]>({
    source: this.rows,
    computation: (rows, before) => grouped(rows, before?.value),
  });
  protected readonly seenFrom = computed(() => this.ledger()?.seenFrom ?? 0);
  protected readonly opening = computed(() => this.ledger()?.balance?.opening ?? null);
  protected readonly currency = computed(() => this.ledger()?.balance?.currency ?? null);
  protected readonly today = computed(() => this.rows().slice(0, 1).map(dayOf)[0]);
  protected readonly atEnd = computed(() => this.ledger()?.older.kind === 'none');
}
