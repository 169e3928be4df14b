/** Compares what the page holds with what REST reads from Postgres. */

import {
  sameValue,
  type AccountState,
  type Snapshot,
  type Transfer,
  type TransferListPage,
} from '@livebalance/client';

import type { Comparison } from '../connection/connection-log';

/**
 * Compares the transfers after `from`, up to the revision of the snapshot, and the balance.
 *
 * The page must hold that revision already. If the list has further pages, later transfers are not compared.
 */
export function compare(
  state: AccountState,
  from: number,
  snapshot: Snapshot,
  list: TransferListPage,
): Comparison {
  if (state.epoch !== snapshot.epoch || state.revision < snapshot.revision) return 'unknown';
  // The page has dropped rows that would be compared.
  if (state.older.kind === 'below' && state.older.revision > from + 1) return 'unknown';
  const last = list.transfers.at(-1)?.revision ?? 0;
  const upTo = list.next === null ? snapshot.revision : Math.min(snapshot.revision, last);
  const isCompared = ({ revision }: Transfer) => revision > from && revision <= upTo;
  const shown = state.rows.filter(isCompared).toReversed();
  const stored = list.transfers.filter(isCompared);
  const sameRows = shown.length === stored.length && stored.every((row, index) => isSame(row, shown[index]));
  return sameRows && isSameBalance(state, snapshot) ? 'equal' : 'different';
}

function isSame(a: Transfer, b: Transfer | undefined): boolean {
  return (
    a.id === b?.id &&
    a.revision === b.revision &&
    sameValue(a.amount, b.amount) &&
    sameValue(a.total, b.total)
  );
}

/** Compares the balances if both are of the same revision. The page may hold a newer balance. */
function isSameBalance({ balance: shown }: AccountState, { balance: stored }: Snapshot): boolean {
  if (stored === null) return true;
  if (shown === null || shown.revision < stored.revision) return false;
  return shown.revision > stored.revision || sameValue(shown.amount, stored.amount);
}
