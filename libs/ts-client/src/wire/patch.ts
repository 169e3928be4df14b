/** Patches: deltas without what the client has, for clients that ask for them. See `docs/protocol.md#patches`. */

import type { Balance, Delta, Patch, Transfer } from './frame.js';
import type { Revision } from './identity.js';

/** Returns the delta that a patch was made of, or null if the patch does not follow the delta `last`. */
export function applyPatch(last: Delta | null, patch: Patch): Delta | null {
  const { channel, epoch, from, to, recorded_at, transfers: rows = [] } = patch;
  if (last?.epoch !== epoch || last.to !== from || last.balance === undefined || last.balance === null)
    return null;
  const transfers = rows.map((row, index): Transfer => ({
    ...row,
    revision: row.revision ?? ((from + 1 + index) as Revision),
  }));
  const newest = transfers.at(-1) ?? last.transfers.at(-1);
  const balance = patchedBalance(last.balance, patch, newest);
  return { type: 'delta', channel, epoch, from, to, transfers, recorded_at, balance };
}

function patchedBalance(last: Balance, { to, balance }: Patch, newest: Transfer | undefined): Balance {
  if (balance?.version === undefined) return { ...last, ...balance };
  return { ...last, revision: to, transfer_id: newest?.id ?? last.transfer_id, ...balance };
}
