import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { FakeProjection } from '../connection/gateway.fake.js';
import type { Instant } from '../wire/identity.js';
import { applyFrame, type AccountState } from './account-state.js';
import { STORED_ROWS, fromStored, toStored } from './stored-state.js';

/** Returns the state of an account with `transfers` transfers. */
function stateOf(transfers: number, cursor: string | null = null): AccountState {
  const projection = new FakeProjection();
  for (let n = 0; n < transfers; n += 1) projection.addTransfer(n);
  projection.addBalance();
  const state = applyFrame(null, {
    type: 'snapshot',
    channel: 'account:acc-1',
    epoch: projection.epoch,
    revision: projection.revision,
    reason: 'subscribed',
    balance: projection.balance(),
    transfers: projection.rows(),
    cursor,
    as_of: '2026-11-24T17:20:00.000Z' as Instant,
  });
  return state ?? expect.fail('a snapshot gives a state');
}

const reload = (state: AccountState): unknown => JSON.parse(JSON.stringify(toStored(state)));

describe('a stored state', () => {
  it('is the state', () => {
    expect(fromStored(reload(stateOf(7)))).toEqual(stateOf(7));
  });

  it('has the newest rows, and reads older rows again below them', () => {
    const state = stateOf(STORED_ROWS + 5);
    const stored = fromStored(reload(state));
    expect(stored?.rows).toEqual(state.rows.slice(0, STORED_ROWS));
    expect(stored?.older).toEqual({ kind: 'below', revision: state.rows[STORED_ROWS - 1]?.revision });
    expect(fromStored(reload(stateOf(3, 'a cursor')))?.older).toEqual({ kind: 'below', revision: 1 });
  });

  it('has the part of a gap that is between its rows', () => {
    const { epoch, revision, rows, ...rest } = stateOf(STORED_ROWS + 50);
    const between = { from: rows[10]?.revision ?? revision, to: rows[9]?.revision ?? revision };
    const below = { from: rows[140]?.revision ?? revision, to: rows[130]?.revision ?? revision };
    const missing = (gap: typeof between) =>
      fromStored(reload({ epoch, revision, rows, ...rest, missing: gap }))?.missing;
    expect(missing(between)).toEqual(between);
    expect(missing(below)).toBeNull();
  });

  it('of another version, or any other value, is none', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        expect(fromStored(value)).toBeNull();
      }),
    );
    const stored = reload(stateOf(1)) as object;
    expect(fromStored({ ...stored, version: 'livebalance.state.2' })).toBeNull();
    expect(fromStored({ ...stored, balance: { amount: 1 } })).toBeNull();
  });
});
