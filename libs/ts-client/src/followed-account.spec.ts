import { describe, expect, it, vi } from 'vitest';

import { applyFrame, type AccountState } from './account/account-state.js';
import type { Api } from './api.js';
import { FakeProjection } from './connection/gateway.fake.js';
import { FollowedAccount } from './followed-account.js';
import type { Snapshot, TransferListPage } from './wire/frame.js';
import { channelName, type AccountId } from './wire/identity.js';

const ACCOUNT = 'acc-1' as AccountId;

function snapshotOf(projection: FakeProjection): Snapshot {
  const transfers = projection.rows().slice(0, 3);
  const last = transfers.at(-1)?.revision ?? 1;
  return {
    type: 'snapshot',
    channel: channelName(ACCOUNT),
    epoch: projection.epoch,
    revision: projection.revision,
    balance: null,
    transfers,
    reason: 'subscribed',
    cursor: last > 1 ? `${last}` : null,
    as_of: null,
  };
}

/** Returns a projection of 10 transfers, and the state after a snapshot of the newest 3. */
function createState() {
  const projection = new FakeProjection();
  for (let n = 0; n < 10; n += 1) projection.addTransfer(1);
  const state = applyFrame(null, snapshotOf(projection));
  return { projection, state: state ?? expect.fail('there is no state') };
}

/** Follows an account, whose older transfers are what `read` returns. */
function follow(state: AccountState, read: (cursor: string) => Promise<TransferListPage>) {
  const olderTransfers = vi.fn((_account: string, cursor: string) => read(cursor));
  const followed = new FollowedAccount(ACCOUNT, { olderTransfers } as unknown as Api);
  followed.restore(state);
  return { followed, olderTransfers, stop: followed.listeners.add(() => undefined) };
}

describe('the older transfers of an account', () => {
  it('are not merged if they are of another epoch', async () => {
    const { projection, state } = createState();
    const { followed } = follow(state, (cursor) => Promise.resolve(projection.olderPage(cursor)));
    projection.loseCommits(8);
    await followed.loadOlder();
    expect(followed.view).toMatchObject({ older: 'failed', state: { rows: state.rows } });
  });

  it('are ignored if a snapshot of another epoch has arrived before them', async () => {
    const { projection, state } = createState();
    const { followed } = follow(state, (cursor) => Promise.resolve(projection.olderPage(cursor)));
    const loading = followed.loadOlder();
    projection.loseCommits(8);
    followed.apply(snapshotOf(projection));
    await loading;
    expect([followed.view.older, followed.state?.rows]).toEqual(['idle', projection.rows()]);
  });

  it('are read again if the user left and comes back', async () => {
    const { projection, state } = createState();
    const { followed, olderTransfers, stop } = follow(state, (cursor) =>
      Promise.resolve(projection.olderPage(cursor)),
    );
    const loading = followed.loadOlder();
    stop();
    await loading;
    followed.listeners.add(() => undefined);
    expect(followed.view.older).toBe('idle');
    await followed.loadOlder();
    expect(olderTransfers).toHaveBeenCalledTimes(2);
    expect(followed.view.state?.rows).toHaveLength(5);
  });
});
