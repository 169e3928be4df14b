/**
 * What the page shows of one account: its balance and its transfers, newest first.
 *
 * The law: snapshot, then the deltas that fit, then any older pages in any order, always gives exactly the rows
 * of SQL from the newest down to `older`. Rows are merged by id, which is unique within an account.
 */

import type { Balance, Delta, Gap, Snapshot, Transfer, TransferPage } from '../wire/frame';
import { ZERO, type Epoch, type Revision } from '../wire/identity';

/** Rows kept while watching; the oldest beyond are forgotten and remembered as a revision to read from again. */
export const KEEP = 2_000;
/** Revisions read at a time below a forgotten row: never more rows than one page of REST may hold. */
export const WINDOW = 500;

/** Where the rows below the last one are. */
export type Older =
  | { readonly kind: 'none' }
  /** The server's own pointer. */
  | { readonly kind: 'cursor'; readonly cursor: string }
  /** All below this revision were forgotten here. */
  | { readonly kind: 'below'; readonly revision: Revision };

export type Ledger = {
  readonly epoch: Epoch;
  readonly revision: Revision;
  readonly balance: Balance | null;
  readonly rows: readonly Transfer[];
  readonly older: Older;
  /** Revisions inside the rows that are still to be read: after `from`, up to `to`. */
  readonly missing: Gap | null;
  /** Rows above it arrived while one watched. */
  readonly seenFrom: Revision;
  /** How many rows may stay: `KEEP` and what was asked for by hand. */
  readonly keep: number;
};

const NONE: Older = { kind: 'none' };

export function show(ledger: Ledger | null, frame: Snapshot | Delta): Ledger | null {
  if (frame.type === 'snapshot') return ofSnapshot(ledger, frame);
  return ledger === null ? null : withDelta(ledger, frame);
}

function ofSnapshot(before: Ledger | null, snapshot: Snapshot): Ledger {
  const { epoch, revision, balance, transfers: rows, gap, cursor } = snapshot;
  const older: Older = cursor === null ? NONE : { kind: 'cursor', cursor };
  const fresh: Ledger = {
    epoch,
    revision,
    balance,
    rows,
    older,
    missing: null,
    seenFrom: revision,
    keep: KEEP,
  };
  if (gap === undefined || before === null || !joins(before, gap, epoch)) return fresh;
  const upTo = (rows.at(-1)?.revision ?? revision + 1) - 1;
  const missing = cursor === null || upTo <= gap.from ? null : { from: gap.from, to: upTo as Revision };
  return trim({ ...fresh, rows: merge(before.rows, rows), older: before.older, missing, keep: before.keep });
}

/** Old rows stay only if one gap leads up to the new ones, and it is no longer than what is kept anyway. */
function joins(before: Ledger, gap: Gap, epoch: Epoch): boolean {
  const whole = before.missing === null && before.epoch === epoch && before.revision === gap.from;
  return whole && gap.to - gap.from <= 2 * KEEP;
}

function withDelta(ledger: Ledger, delta: Delta): Ledger {
  const balance = delta.balance === undefined ? ledger.balance : delta.balance;
  return trim({ ...ledger, revision: delta.to, balance, rows: merge(ledger.rows, delta.transfers) });
}

/** The page that `older.cursor` led to. */
export function withOlder(ledger: Ledger, asked: Older, page: TransferPage): Ledger {
  if (asked !== ledger.older) return ledger; // the rows have moved on since: it would leave a hole
  const older: Older = page.next === null ? NONE : { kind: 'cursor', cursor: page.next };
  return longer(ledger, page.transfers, older);
}

/** Where to read from to get the rows below `revision` again. */
export function windowBelow(revision: Revision): Revision {
  return Math.max(0, revision - 1 - WINDOW) as Revision;
}

/** The page after `windowBelow(asked.revision)`, of `WINDOW` rows. */
export function withWindow(
  ledger: Ledger,
  asked: Extract<Older, { kind: 'below' }>,
  page: TransferPage,
): Ledger {
  if (asked !== ledger.older) return ledger;
  const start = windowBelow(asked.revision);
  const below = page.transfers.filter((row) => row.revision < asked.revision);
  const older: Older = start === 0 ? NONE : { kind: 'below', revision: (start + 1) as Revision };
  return longer(ledger, below, older);
}

function longer(ledger: Ledger, rows: readonly Transfer[], older: Older): Ledger {
  return trim({ ...ledger, rows: merge(ledger.rows, rows), older, keep: ledger.keep + rows.length });
}

/** The page after `asked.from`, in order: the gap shrinks from below. */
export function withMissing(ledger: Ledger, asked: Gap, page: TransferPage): Ledger {
  if (asked !== ledger.missing) return ledger;
  const inside = page.transfers.filter((row) => row.revision <= asked.to);
  const last = page.transfers.at(-1)?.revision;
  const done = last === undefined || last >= asked.to || page.next === null;
  return trim({
    ...ledger,
    rows: merge(ledger.rows, inside),
    missing: done ? null : { from: last, to: asked.to },
  });
}

/** Both by id, newest first. */
function merge(rows: readonly Transfer[], more: readonly Transfer[]): readonly Transfer[] {
  if (more.length === 0) return rows;
  const top = rows[0]?.revision ?? ZERO;
  if (more.every((row) => row.revision > top)) return [...newestFirst(more), ...rows];
  const byId = new Map([...rows, ...more].map((row) => [row.id, row]));
  return newestFirst([...byId.values()]);
}

function newestFirst(rows: readonly Transfer[]): readonly Transfer[] {
  return rows.toSorted((a, b) => b.revision - a.revision);
}

function trim(ledger: Ledger): Ledger {
  const { missing, keep } = ledger;
  const last = ledger.rows[keep - 1];
  if (ledger.rows.length <= keep || last === undefined) return ledger;
  const below = last.revision;
  // A gap that now lies below the last row is read again with the rows around it.
  const kept =
    missing !== null && missing.to >= below ? { ...missing, from: max(missing.from, below) } : null;
  const rows = ledger.rows.slice(0, keep);
  return { ...ledger, rows, older: { kind: 'below', revision: below }, missing: kept };
}

function max(a: Revision, b: Revision): Revision {
  return a > b ? a : b;
}
