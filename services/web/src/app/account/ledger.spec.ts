import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { Truth, rev } from '../connection/gateway.fake';
import type { Delta, Snapshot, Transfer } from '../wire/frame';
import type { Instant } from '../wire/identity';
import {
  KEEP,
  WINDOW,
  show,
  windowBelow,
  withMissing,
  withOlder,
  withWindow,
  type Ledger,
  type Older,
} from './ledger';

const AT = '2026-11-24T17:20:00.000Z' as Instant;

function truthOf(transfers: number): Truth {
  const truth = new Truth();
  for (let n = 0; n < transfers; n += 1) truth.transfer(n);
  return truth;
}

function snapshot(truth: Truth, rows: number, more: Partial<Snapshot> = {}): Snapshot {
  const all = truth.rows();
  const cursor = all.length > rows ? `${all[rows - 1]?.revision ?? 0}` : null;
  return {
    type: 'snapshot',
    channel: 'account:acc-1',
    epoch: truth.epoch,
    revision: truth.revision,
    reason: 'subscribed',
    balance: null,
    transfers: all.slice(0, rows),
    cursor,
    as_of: null,
    ...more,
  };
}

function deltaOf(truth: Truth, from: number): Delta {
  const transfers = truth
    .rows()
    .filter((row) => row.revision > from)
    .reverse();
  const { epoch, revision: to } = truth;
  return { type: 'delta', channel: 'account:acc-1', epoch, from: rev(from), to, transfers, recorded_at: AT };
}

function begin(frame: Snapshot, before: Ledger | null = null): Ledger {
  return show(before, frame) ?? expect.fail('a snapshot always shows');
}

function readOlder(ledger: Ledger, truth: Truth): Ledger {
  const { older } = ledger;
  if (older.kind === 'cursor') return withOlder(ledger, older, truth.older(older.cursor));
  if (older.kind === 'none') return ledger;
  const start = windowBelow(older.revision);
  const rows = truth
    .rows()
    .filter((row) => row.revision > start)
    .reverse()
    .slice(0, WINDOW);
  return withWindow(ledger, older, { transfers: rows, next: null });
}

describe('older pages', () => {
  it('come below the rows, and the last one ends it', () => {
    const truth = truthOf(7);
    let ledger = begin(snapshot(truth, 3));
    expect(ledger.rows).toHaveLength(3);
    ledger = readOlder(readOlder(ledger, truth), truth);
    expect(ledger.rows).toEqual(truth.rows());
    expect(ledger.older).toEqual({ kind: 'none' });
  });

  it('of a state that was left are dropped', () => {
    const truth = truthOf(7);
    const before = begin(snapshot(truth, 3));
    const page = truth.older('5');
    truth.forget(1);
    const after = begin(snapshot(truth, 3, { reason: 'epoch' }), before);
    expect(withOlder(after, before.older, page)).toBe(after);
  });

  it('asked for twice stand once', () => {
    const truth = truthOf(7);
    const ledger = begin(snapshot(truth, 3));
    const page = truth.older('5');
    const once = withOlder(ledger, ledger.older, page);
    expect(withOlder(once, ledger.older, page)).toBe(once);
    const twice = withOlder(once, once.older, page);
    expect(twice.rows).toEqual(once.rows);
  });
});

describe('what was missed', () => {
  it('beyond a gap is filled in page by page while new ones arrive', () => {
    const truth = truthOf(4);
    const before = begin(snapshot(truth, 3));
    const from = truth.revision;
    for (let n = 0; n < 9; n += 1) truth.transfer(n);
    const gap = { from, to: truth.revision };
    let ledger = begin(snapshot(truth, 3, { reason: 'too_far', gap }), before);
    expect(ledger.missing).toEqual({ from: 4, to: 10 });
    for (let n = 0; n < 4; n += 1) {
      truth.transfer(n);
      ledger = show(ledger, deltaOf(truth, ledger.revision)) ?? expect.fail();
      if (ledger.missing !== null)
        ledger = withMissing(ledger, ledger.missing, truth.after(ledger.missing.from));
    }
    expect(ledger.missing).toBeNull();
    expect(readOlder(ledger, truth).rows).toEqual(truth.rows());
  });

  it('twice begins anew from the snapshot', () => {
    const truth = truthOf(9);
    const gap = { from: rev(1), to: rev(9) };
    const ledger = begin(snapshot(truth, 3, { reason: 'too_far', gap }), begin(snapshot(truthOf(3), 3)));
    expect(ledger.rows).toHaveLength(3);
    expect(ledger.missing).toBeNull();
  });
});

describe('thousands of rows', () => {
  /** Rows without a whole truth behind them, which would count them over and over. */
  const rowOf = (at: number): Transfer => ({
    id: `t-${at}`,
    amount: '1' as Transfer['amount'],
    total: `${at}` as Transfer['total'],
    occurred_at: AT,
    revision: rev(at),
    source: `transfers/0@${at}`,
  });
  const rowsUpTo = (top: number): Transfer[] => Array.from({ length: top }, (_, n) => rowOf(top - n));
  const LEFT_OUT: Older = { kind: 'none' };

  it('are forgotten from the bottom, and read again exactly', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3 * WINDOW }), (more) => {
        const top = KEEP + more;
        const all = rowsUpTo(top);
        const truth = truthOf(0);
        let ledger = begin({ ...snapshot(truth, 1), revision: rev(0), transfers: [] });
        const transfers = all.toReversed();
        const delta = { ...deltaOf(truth, 0), to: rev(top), transfers };
        ledger = show(ledger, delta) ?? expect.fail();
        expect(ledger.rows).toEqual(all.slice(0, KEEP));
        while (ledger.older.kind === 'below') {
          const start = windowBelow(ledger.older.revision);
          const page = { transfers: transfers.slice(start, start + WINDOW), next: null };
          ledger = withWindow(ledger, ledger.older, page);
        }
        expect(ledger.older).toEqual(LEFT_OUT);
        expect(ledger.rows).toEqual(all);
      }),
      { numRuns: 20 },
    );
  });
});
