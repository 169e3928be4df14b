import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Client } from '../client.js';
import type { ClientFrame, Member, SetDelta, SetSnapshot } from '../wire/frame.js';
import type { AccountId, Epoch, Instant, Revision } from '../wire/identity.js';
import type { Money } from '../wire/money.js';
import { SetAssembly, type SetView } from './set-state.js';

const NAME = 'prefix:EU-';
const EPOCH = '00000000000000a1' as Epoch;
const TIME = '2026-11-24T17:20:00.000Z';

const member = (account: string, amount: string): Member => ({
  account: account as AccountId,
  revision: 1 as Revision,
  amount: amount as Money,
  currency: 'EUR',
  client_id: 'c-1',
  disputed_since: null,
});
const total = (amount: string, accounts: number) => [{ currency: 'EUR', amount: amount as Money, accounts }];
const page = { channel: NAME, epoch: EPOCH };

const FIRST: SetSnapshot = {
  ...page,
  type: 'set_snapshot',
  reason: 'subscribed',
  to: 1,
  members: [member('EU-1', '1.00')],
  more: true,
};
const LAST: SetDelta = {
  ...page,
  type: 'set_delta',
  from: 1,
  to: 2,
  members: [member('EU-2', '9007199254740993.25')],
  totals: total('9007199254740994.25', 2),
  lanes: { '0': 5, '1': 7 },
};
const LEFT: SetDelta = {
  ...page,
  type: 'set_delta',
  from: 2,
  to: 3,
  members: [],
  left: ['EU-1' as AccountId],
  totals: total('9007199254740993.25', 1),
  lanes: { '0': 6 },
};

describe('the state of a set', () => {
  it('changes only with the last page', () => {
    const assembly = new SetAssembly();
    assembly.apply(FIRST);
    expect(assembly.state).toBeNull();
    assembly.apply(LAST);
    const { state } = assembly;
    expect(state).toMatchObject({ epoch: EPOCH, lanes: LAST.lanes, totals: LAST.totals });
    expect([...(state?.members.keys() ?? [])]).toEqual(['EU-1', 'EU-2']);
    assembly.apply({ ...FIRST, reason: 'replaced' });
    expect(assembly.state).toBe(state);
    expect(state?.members.size).toBe(2);
  });

  it('loses accounts that left, and merges the numbers of lanes', () => {
    const assembly = new SetAssembly();
    for (const frame of [FIRST, LAST, LEFT]) assembly.apply(frame);
    expect(assembly.state?.lanes).toEqual({ '0': 6, '1': 7 });
    expect([...(assembly.state?.members.keys() ?? [])]).toEqual(['EU-2']);
  });

  it('forgets lanes and members with a snapshot', () => {
    const assembly = new SetAssembly();
    for (const frame of [FIRST, LAST]) assembly.apply(frame);
    assembly.apply({ ...FIRST, members: [], more: false, totals: [], lanes: { '0': 1 } });
    expect(assembly.state).toMatchObject({ lanes: { '0': 1 }, totals: [] });
    expect(assembly.state?.members.size).toBe(0);
  });
});

/** A WebSocket on which the test plays the gateway. */
class FakeSocket {
  static readonly OPEN = 1;
  static all: FakeSocket[] = [];
  readonly readyState = FakeSocket.OPEN;
  readonly sent: ClientFrame[] = [];
  isClosed = false;
  onopen = (): void => undefined;
  onmessage: (message: { data: string }) => void = () => undefined;
  onclose: (event: { code: number; reason: string }) => void = () => undefined;

  constructor() {
    FakeSocket.all.push(this);
    void Promise.resolve().then(() => {
      this.onopen();
      this.deliver({
        type: 'welcome',
        session: 's',
        gateway: 'gateway-1',
        version: '1',
        server_time: TIME,
        heartbeat_ms: 10_000,
      });
    });
  }

  static get last(): FakeSocket {
    return FakeSocket.all.at(-1) ?? expect.fail('the client has not connected');
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text) as ClientFrame);
  }

  deliver(...frames: object[]): void {
    for (const frame of frames) this.onmessage({ data: JSON.stringify(frame) });
  }

  close(): void {
    this.isClosed = true;
  }
}

describe('a client', () => {
  let client: Client;
  const views: SetView[] = [];
  const settle = () => vi.advanceTimersByTimeAsync(0);
  const follow = () => client.followSet(NAME, (view) => views.push(view));

  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubGlobal('WebSocket', FakeSocket);
    FakeSocket.all = [];
    views.length = 0;
    client = new Client('https://bank.example');
  });
  afterEach(async () => {
    await client.close();
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  it('shows a set, exact and live once a heartbeat has confirmed it', async () => {
    follow();
    await settle();
    expect(FakeSocket.last.sent).toMatchObject([{ type: 'subscribe', channels: [{ channel: NAME }] }]);
    FakeSocket.last.deliver(FIRST);
    expect(views.every(({ state }) => state === null)).toBe(true);
    FakeSocket.last.deliver(LAST);
    expect(views.at(-1)).toMatchObject({ name: NAME, live: false, state: { totals: LAST.totals } });
    FakeSocket.last.deliver({ type: 'heartbeat', server_time: TIME, as_of: TIME });
    expect(views.at(-1)).toMatchObject({ live: true, asOf: TIME as Instant });
    expect(client.setView(NAME)).toBe(views.at(-1));
  });

  it('shares a subscription, and unsubscribes when the last listener has gone', async () => {
    const stops = [follow(), follow()];
    client.follow('acc-1', () => undefined);
    await settle();
    expect(FakeSocket.last.sent.map(({ type }) => type)).toEqual(['subscribe', 'subscribe']);
    stops[0]?.();
    await settle();
    expect(FakeSocket.last.sent).toHaveLength(2);
    stops[1]?.();
    await settle();
    expect(FakeSocket.last.sent.at(-1)).toMatchObject({ type: 'unsubscribe', channels: [NAME] });
    expect(client.setView(NAME)).toBeNull();
    expect(FakeSocket.last.isClosed).toBe(false);
  });

  it('closes the connection when neither an account nor a set is followed', async () => {
    const stop = follow();
    await settle();
    stop();
    await settle();
    expect(FakeSocket.last.isClosed).toBe(true);
  });

  it('keeps the state of a set while it reconnects, and shows that it is not live', async () => {
    follow();
    await settle();
    FakeSocket.last.deliver(FIRST, LAST, { type: 'heartbeat', server_time: TIME, as_of: TIME });
    FakeSocket.last.onclose({ code: 1006, reason: '' });
    expect(views.at(-1)).toMatchObject({ live: false, state: { totals: LAST.totals } });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(FakeSocket.all).toHaveLength(2);
    expect(FakeSocket.last.sent).toMatchObject([{ type: 'subscribe', channels: [{ channel: NAME }] }]);
    FakeSocket.last.deliver(LEFT); // it does not follow a snapshot of this connection
    expect(views.at(-1)?.state?.members.size).toBe(2);
  });

  it('hides a set that the user may not see', async () => {
    follow();
    await settle();
    FakeSocket.last.deliver(FIRST, LAST, {
      type: 'unsubscribed',
      channel: NAME,
      code: 'revoked',
      message: 'access was revoked',
    });
    expect(views.at(-1)).toMatchObject({ state: null, forbidden: true, rejected: { code: 'revoked' } });
  });

  it('replaces a connection on which the next page does not arrive', async () => {
    follow();
    await settle();
    FakeSocket.last.deliver(FIRST);
    for (let second = 0; second < 9; second += 1) {
      await vi.advanceTimersByTimeAsync(1_000);
      FakeSocket.last.deliver({ type: 'heartbeat', server_time: TIME, as_of: null });
    }
    expect(FakeSocket.last.isClosed).toBe(false);
    await vi.advanceTimersByTimeAsync(1_100);
    expect(FakeSocket.all[0]?.isClosed).toBe(true);
  });

  it('waits for a set while the gateway sends another before it', async () => {
    follow();
    client.followSet('client:c-1', () => undefined);
    await settle();
    for (let to = 1; to < 30; to += 1) {
      FakeSocket.last.deliver(to === 1 ? FIRST : { ...LAST, from: to - 1, to, more: true });
      await vi.advanceTimersByTimeAsync(1_000);
    }
    expect(FakeSocket.all).toHaveLength(1);
    expect(FakeSocket.last.isClosed).toBe(false);
  });

  it('rejects a name that is not the name of a set', () => {
    expect(() => client.followSet('account:acc-1', () => undefined)).toThrow(RangeError);
  });
});
