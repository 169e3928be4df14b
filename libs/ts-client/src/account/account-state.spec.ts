import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { FakeProjection, rev } from '../connection/gateway.fake.js';
import type { Delta, Snapshot, Transfer } from '../wire/frame.js';
import type { Instant } from '../wire/identity.js';
import {
  MAX_ROWS,
  WINDOW,
  applyFrame,
  windowBelow,
  withMissing,
  withOlder,
  withWindow,
  type AccountState,
} from './account-state.js';

const TIME = '2026-11-24T17:20:00.000Z' as Instant;

function projectionOf(transfers: number): FakeProjection {
  const projection = new FakeProjection();
  for (let n = 0; n < transfers; n += 1) projection.addTransfer(n);
  return projection;
}

function snapshotOf(projection: FakeProjection, rows: number, fields: Partial<Snapshot> = {}): Snapshot {
  const all = projection.rows();
  const cursor = all.length > rows ? `${all[rows - 1]?.revision ?? 0}` : null;
  return {
    type: 'snapshot',
    channel: 'account:acc-1',
    epoch: projection.epoch,
    revision: projection.revision,
    reason: 'subscribed',
    balance: null,
    transfers: all.slice(0, rows),
    cursor,
    as_of: null,
    ...fields,
  };
}

function deltaAfter(projection: FakeProjection, from: number): Delta {
  return {
    type: 'delta',
    channel: 'account:acc-1',
    epoch: projection.epoch,
    from: rev(from),
    to: projection.revision,
    transfers: projection.rowsAfter(rev(from)),
    recorded_at: TIME,
  };
}

function applySnapshot(snapshot: Snapshot, previous: AccountState | null = null): AccountState {
  return applyFrame(previous, snapshot) ?? expect.fail('a snapshot always gives a state');
}

function loadOlder(state: AccountState, projection: FakeProjection): AccountState {
  const { older } = state;
  if (older.kind === 'cursor') return withOlder(state, older, projection.olderPage(older.cursor));
  if (older.kind === 'none') return state;
  const transfers = projection.rowsAfter(windowBelow(older.revision)).slice(0, WINDOW);
  return withWindow(state, older, { epoch: projection.epoch, transfers, next: null });
}

describe('older page', () => {
  it('is added below the rows until the last page', () => {
    const projection = projectionOf(7);
    let state = applySnapshot(snapshotOf(projection, 3));
    expect(state.rows).toHaveLength(3);
    state = loadOlder(loadOlder(state, projection), projection);
    expect(state.rows).toEqual(projection.rows());
    expect(state.older).toEqual({ kind: 'none' });
  });

  it('is dropped if it was requested in an earlier epoch', () => {
    const projection = projectionOf(7);
    const before = applySnapshot(snapshotOf(projection, 3));
    const page = projection.olderPage('5');
    projection.loseCommits(1);
    const after = applySnapshot(snapshotOf(projection, 3, { reason: 'epoch' }), before);
    expect(withOlder(after, before.older, page)).toBe(after);
  });

  it('is added once if it was requested twice', () => {
    const projection = projectionOf(7);
    const state = applySnapshot(snapshotOf(projection, 3));
    const page = projection.olderPage('5');
    const once = withOlder(state, state.older, page);
    expect(withOlder(once, state.older, page)).toBe(once);
    const twice = withOlder(once, once.older, page);
    expect(twice.rows).toEqual(once.rows);
  });
});

describe('gap', () => {
  it('is filled page by page while new transfers arrive', () => {
    const projection = projectionOf(4);
    const before = applySnapshot(snapshotOf(projection, 3));
    const from = projection.revision;
    for (let n = 0; n < 9; n += 1) projection.addTransfer(n);
    const gap = { from, to: projection.revision };
    let state = applySnapshot(snapshotOf(projection, 3, { reason: 'too_far', gap }), before);
    expect(state.missing).toEqual({ from: 4, to: 10 });
    for (let n = 0; n < 4; n += 1) {
      projection.addTransfer(n);
      state = applyFrame(state, deltaAfter(projection, state.revision)) ?? expect.fail();
      if (state.missing !== null)
        state = withMissing(state, state.missing, projection.pageAfter(state.missing.from));
    }
    expect(state.missing).toBeNull();
    expect(loadOlder(state, projection).rows).toEqual(projection.rows());
  });

  it('that does not begin at the shown revision replaces the rows', () => {
    const projection = projectionOf(9);
    const gap = { from: rev(1), to: rev(9) };
    const before = applySnapshot(snapshotOf(projectionOf(3), 3));
    const state = applySnapshot(snapshotOf(projection, 3, { reason: 'too_far', gap }), before);
    expect(state.rows).toHaveLength(3);
    expect(state.missing).toBeNull();
  });
});

describe('rows above the limit', () => {
  /** Makes a row without a `FakeProjection`, which would be slow with thousands of rows. */
  const rowOf = (revision: number): Transfer => ({
    id: `t-${revision}`,
    amount: '1' as Transfer['amount'],
    total: `${revision}` as Transfer['total'],
    occurred_at: TIME,
    revision: rev(revision),
    source: `transfers/0@${revision}`,
  });
  const rowsUpTo = (top: number): Transfer[] => Array.from({ length: top }, (_, n) => rowOf(top - n));

  it('are dropped from the bottom and can be loaded again', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3 * WINDOW }), (excess) => {
        const top = MAX_ROWS + excess;
        const all = rowsUpTo(top);
        const projection = projectionOf(0);
        let state = applySnapshot({ ...snapshotOf(projection, 1), revision: rev(0), transfers: [] });
        const transfers = all.toReversed();
        const delta = { ...deltaAfter(projection, 0), to: rev(top), transfers };
        state = applyFrame(state, delta) ?? expect.fail();
        expect(state.rows).toEqual(all.slice(0, MAX_ROWS));
        while (state.older.kind === 'below') {
          const start = windowBelow(state.older.revision);
          const rows = transfers.slice(start, start + WINDOW);
          const page = { epoch: projection.epoch, transfers: rows, next: null };
          state = withWindow(state, state.older, page);
        }
        expect(state.older).toEqual({ kind: 'none' });
        expect(state.rows).toEqual(all);
      }),
      { numRuns: 20 },
    );
  });
});
