/**
 * The state of one account: its balance and its transfers, newest first.
 *
 * Invariant: the rows equal the rows in Postgres from the newest row down to `older`, except those in `missing`.
 * This holds after a snapshot, the deltas that fit, and older pages in any order. A transfer id is unique within
 * an account, so rows are merged by id.
 */

import type { Balance, Delta, Gap, Snapshot, Transfer, TransferListPage } from '../wire/frame.js';
import { ZERO, type Epoch, type Revision } from '../wire/identity.js';

/** Number of rows that the client keeps. Older rows are dropped, and can be read again below a revision. */
export const MAX_ROWS = 2_000;
/** Number of revisions read at once below a dropped row. Their rows fit into one page of the REST API. */
export const WINDOW = 500;

/** Where the rows below the last row can be read. */
export type Older =
  | { readonly kind: 'none' }
  /** Behind a cursor of the gateway. */
  | { readonly kind: 'cursor'; readonly cursor: string }
  /** Below this revision, because the client has dropped these rows. */
  | { readonly kind: 'below'; readonly revision: Revision };

export type AccountState = {
  readonly epoch: Epoch;
  readonly revision: Revision;
  readonly balance: Balance | null;
  readonly rows: readonly Transfer[];
  readonly older: Older;
  /** Revisions between the rows that are not loaded yet: above `from`, up to `to`. */
  readonly missing: Gap | null;
  /** Revision of the last snapshot. Rows above it arrived live, so that a page can highlight them. */
  readonly highlightAbove: Revision;
  /** Number of rows that may stay: `MAX_ROWS` plus the older rows that the user loaded. */
  readonly maxRows: number;
};

const NONE: Older = { kind: 'none' };

/** Applies a snapshot or delta. Returns null for a delta without a state. */
export function applyFrame(state: AccountState | null, frame: Snapshot | Delta): AccountState | null {
  if (frame.type === 'snapshot') return withSnapshot(state, frame);
  return state === null ? null : withDelta(state, frame);
}

function withSnapshot(previous: AccountState | null, snapshot: Snapshot): AccountState {
  const { epoch, revision, balance, transfers: rows, gap, cursor } = snapshot;
  const older: Older = cursor === null ? NONE : { kind: 'cursor', cursor };
  const fresh: AccountState = {
    epoch,
    revision,
    balance,
    rows,
    older,
    missing: null,
    highlightAbove: revision,
    maxRows: MAX_ROWS,
  };
  if (gap === undefined || previous === null || !canKeepRows(previous, gap, epoch)) return fresh;
  const upTo = (rows.at(-1)?.revision ?? revision + 1) - 1;
  const missing = cursor === null || upTo <= gap.from ? null : { from: gap.from, to: upTo as Revision };
  return trim({
    ...fresh,
    rows: merge(previous.rows, rows),
    older: previous.older,
    missing,
    maxRows: previous.maxRows,
  });
}

/** Tells whether old rows can stay: if one gap of at most 2 × `MAX_ROWS` revisions follows them. */
function canKeepRows(previous: AccountState, gap: Gap, epoch: Epoch): boolean {
  const adjacent = previous.missing === null && previous.epoch === epoch && previous.revision === gap.from;
  return adjacent && gap.to - gap.from <= 2 * MAX_ROWS;
}

function withDelta(state: AccountState, delta: Delta): AccountState {
  const balance = delta.balance === undefined ? state.balance : delta.balance;
  return trim({ ...state, revision: delta.to, balance, rows: merge(state.rows, delta.transfers) });
}

/** Adds the page that was read with the cursor of `requested`. */
export function withOlder(state: AccountState, requested: Older, page: TransferListPage): AccountState {
  if (requested !== state.older) return state; // the rows have changed since, so the page would leave a gap
  const older: Older = page.next === null ? NONE : { kind: 'cursor', cursor: page.next };
  return withMoreRows(state, page.transfers, older);
}

/** Returns the revision after which to read, to load the dropped rows below `revision` again. */
export function windowBelow(revision: Revision): Revision {
  return Math.max(0, revision - 1 - WINDOW) as Revision;
}

/** Adds the page of `WINDOW` rows that was read after `windowBelow(requested.revision)`. */
export function withWindow(
  state: AccountState,
  requested: Extract<Older, { kind: 'below' }>,
  page: TransferListPage,
): AccountState {
  if (requested !== state.older) return state;
  const start = windowBelow(requested.revision);
  const below = page.transfers.filter((row) => row.revision < requested.revision);
  const older: Older = start === 0 ? NONE : { kind: 'below', revision: (start + 1) as Revision };
  return withMoreRows(state, below, older);
}

function withMoreRows(state: AccountState, rows: readonly Transfer[], older: Older): AccountState {
  return trim({ ...state, rows: merge(state.rows, rows), older, maxRows: state.maxRows + rows.length });
}

/** Adds the page that was read after `requested.from`. The gap shrinks from its lower end. */
export function withMissing(state: AccountState, requested: Gap, page: TransferListPage): AccountState {
  if (requested !== state.missing) return state;
  const inside = page.transfers.filter((row) => row.revision <= requested.to);
  const last = page.transfers.at(-1)?.revision;
  const complete = last === undefined || last >= requested.to || page.next === null;
  return trim({
    ...state,
    rows: merge(state.rows, inside),
    missing: complete ? null : { from: last, to: requested.to },
  });
}

/** Merges rows by id, newest first. */
function merge(rows: readonly Transfer[], added: readonly Transfer[]): readonly Transfer[] {
  if (added.length === 0) return rows;
  const top = rows[0]?.revision ?? ZERO;
  if (added.every((row) => row.revision > top)) return [...newestFirst(added), ...rows];
  const byId = new Map([...rows, ...added].map((row) => [row.id, row]));
  return newestFirst([...byId.values()]);
}

function newestFirst(rows: readonly Transfer[]): readonly Transfer[] {
  return rows.toSorted((a, b) => b.revision - a.revision);
}

function trim(state: AccountState): AccountState {
  const { missing, maxRows } = state;
  const last = state.rows[maxRows - 1];
  if (state.rows.length <= maxRows || last === undefined) return state;
  const below = last.revision;
  // The part of the gap below the last row is dropped: it is read again together with the dropped rows.
  const missingAbove =
    missing !== null && missing.to >= below ? { ...missing, from: max(missing.from, below) } : null;
  const rows = state.rows.slice(0, maxRows);
  return { ...state, rows, older: { kind: 'below', revision: below }, missing: missingAbove };
}

function max(a: Revision, b: Revision): Revision {
  return a > b ? a : b;
}
