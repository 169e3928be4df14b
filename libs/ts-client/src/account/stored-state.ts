/** The form of a state in a storage. Another version may have written a state, so that it is decoded like input. */

import { balance, gap, readEpoch, readRevision, transfer } from '../wire/decode.js';
import { DecodeError, flag, list, nullable, oneOf, struct } from '../wire/json-reader.js';
import { MAX_ROWS, type AccountState } from './account-state.js';

const VERSION = 'livebalance.state.1';
/** Number of rows that are stored. Older rows are read again below the last row. */
export const STORED_ROWS = 100;

const storedState = struct({
  version: oneOf(VERSION),
  epoch: readEpoch,
  revision: readRevision,
  balance: nullable(balance),
  rows: list(transfer),
  /** Whether the rows reach down to the account's first transfer. */
  complete: flag,
  missing: nullable(gap),
});

export type StoredState = ReturnType<typeof storedState>;

export function toStored({ epoch, revision, balance, rows, older, missing }: AccountState): StoredState {
  const kept = rows.slice(0, STORED_ROWS);
  const complete = kept.length === rows.length && older.kind === 'none';
  const lowest = kept.at(-1)?.revision ?? revision;
  // A gap below the kept rows is left out: it is read again together with the dropped rows.
  const gap = missing !== null && missing.to >= lowest ? missing : null;
  return { version: VERSION, epoch, revision, balance, rows: kept, complete, missing: gap };
}

/** Returns the state, or null if the value is not a stored state of this version. */
export function fromStored(value: unknown): AccountState | null {
  try {
    const { epoch, revision, balance, rows, complete, missing } = storedState(value);
    const lowest = rows.at(-1)?.revision ?? revision;
    return {
      epoch,
      revision,
      balance,
      rows,
      older: complete ? { kind: 'none' } : { kind: 'below', revision: lowest },
      missing,
      highlightAbove: revision,
      maxRows: MAX_ROWS,
    };
  } catch (error) {
    if (error instanceof DecodeError) return null;
    throw error;
  }
}
