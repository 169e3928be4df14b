import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { AccountView } from './account/account-view.js';
import { Client } from './client.js';
import { FakeGateway, FakeProjection } from './connection/gateway.fake.js';
import type { ClientFrame } from './wire/frame.js';
import type { AccountId } from './wire/identity.js';

const ACCOUNT = 'acc-1' as AccountId;

/** A WebSocket to a fake gateway of one account, which answers each frame at once. */
class FakeSocket {
  static readonly OPEN = 1;
  static last: FakeSocket | null = null;
  static readonly projection = new FakeProjection();
  readonly readyState = FakeSocket.OPEN;
  readonly sent: ClientFrame[] = [];
  readonly gateway = new FakeGateway(FakeSocket.projection, ACCOUNT);
  isClosed = false;
  onopen = (): void => undefined;
  onmessage: (message: { data: string }) => void = () => undefined;

  constructor(readonly url: URL) {
    FakeSocket.last = this;
    void Promise.resolve().then(() => {
      this.onopen();
      this.gateway.welcome();
      this.deliver();
    });
  }

  send(text: string): void {
    const frame = JSON.parse(text) as ClientFrame;
    this.sent.push(frame);
    this.gateway.answer(frame, true);
    void Promise.resolve().then(() => {
      this.deliver();
    });
  }

  deliver(): void {
    for (const data of this.gateway.outbound.splice(0)) this.onmessage({ data });
  }

  close(): void {
    this.isClosed = true;
  }
}

/** Lets everything run that waits for nothing but a turn. */
const settle = () => vi.advanceTimersByTimeAsync(0);
const sentTypes = () => FakeSocket.last?.sent.map(({ type }) => type);

let client: Client;
beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('WebSocket', FakeSocket);
  FakeSocket.last = null;
  client = new Client('https://bank.example/some/path');
});
afterEach(async () => {
  await client.close();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('a client', () => {
  it('connects to the gateway when the first account is followed', async () => {
    await settle();
    expect(FakeSocket.last).toBeNull();
    client.follow(ACCOUNT, () => undefined);
    await settle();
    expect(FakeSocket.last).toMatchObject({ url: new URL('wss://bank.example/ws') });
  });

  it('reports each new view, and the same view only once', async () => {
    const views: AccountView[] = [];
    client.follow(ACCOUNT, (view) => views.push(view));
    await settle();
    expect(views.at(-1)?.state?.revision).toBe(FakeSocket.projection.revision);
    expect(new Set(views).size).toBe(views.length);
    expect(client.view(ACCOUNT)).toBe(views.at(-1));
    FakeSocket.projection.addTransfer(5);
    FakeSocket.last?.gateway.publish();
    FakeSocket.last?.deliver();
    expect(views.at(-1)?.state?.rows[0]?.amount).toBe('5');
  });

  it('subscribes all accounts of a turn in one frame', async () => {
    for (const account of [ACCOUNT, 'acc-2', 'acc-3']) client.follow(account, () => undefined);
    client.follow(ACCOUNT, () => undefined);
    await settle();
    const requests = FakeSocket.last?.sent.map((frame) => (frame.type === 'subscribe' ? frame.channels : []));
    expect(requests).toEqual([['acc-1', 'acc-2', 'acc-3'].map((id) => ({ channel: `account:${id}` }))]);
  });

  it('sends changes that come one by one within the limit of a gateway, and none is lost', async () => {
    const stops: (() => void)[] = [];
    for (let n = 0; n < 300; n += 1) {
      stops.push(client.follow(`acc-${n + 10}`, () => undefined));
      if (n >= 10) stops[n - 10]?.();
      await vi.advanceTimersByTimeAsync(20);
    }
    await vi.advanceTimersByTimeAsync(1_000);
    const frames = FakeSocket.last?.sent ?? [];
    expect(frames.length).toBeLessThan(30 + 10 * 7);
    const followed = new Set<string>();
    for (const frame of frames) {
      if (frame.type === 'unsubscribe') for (const channel of frame.channels) followed.delete(channel);
      if (frame.type === 'subscribe') for (const { channel } of frame.channels) followed.add(channel);
    }
    expect(followed).toEqual(new Set(Array.from({ length: 10 }, (_, n) => `account:acc-${n + 300}`)));
  });

  it('keeps a subscription that a listener takes over in the same turn', async () => {
    const stop = client.follow(ACCOUNT, () => undefined);
    await settle();
    const view = client.view(ACCOUNT);
    stop();
    client.follow(ACCOUNT, () => undefined);
    await settle();
    expect(sentTypes()).toEqual(['subscribe']);
    expect(client.view(ACCOUNT)).toBe(view);
  });

  it('unsubscribes when the last listener has gone, and then closes the connection', async () => {
    const stops = [ACCOUNT, ACCOUNT, 'acc-2'].map((account) => client.follow(account, () => undefined));
    await settle();
    stops[0]?.();
    await settle();
    expect(sentTypes()).toEqual(['subscribe']);
    stops[1]?.();
    await settle();
    expect(sentTypes()).toEqual(['subscribe', 'unsubscribe']);
    expect(client.view(ACCOUNT)).toBeNull();
    stops[2]?.();
    await settle();
    expect(FakeSocket.last?.isClosed).toBe(true);
  });

  it('begins with a state that was kept, and resumes from it', async () => {
    client.follow(ACCOUNT, () => undefined);
    await settle();
    const kept = client.view(ACCOUNT)?.state ?? null;
    const other = new Client('https://bank.example');
    other.follow(ACCOUNT, () => undefined, kept);
    expect(other.view(ACCOUNT)).toMatchObject({ state: kept, live: false });
    await settle();
    const { epoch, revision } = kept ?? expect.fail('there is no state');
    const channels = [{ channel: `account:${ACCOUNT}`, position: { epoch, revision } }];
    expect(FakeSocket.last?.sent).toMatchObject([{ type: 'subscribe', channels }]);
    await other.close();
  });

  it('that drops its connection reports it, and resumes over another socket', async () => {
    const kinds: string[] = [];
    const stop = client.onEvent(({ kind }) => kinds.push(kind));
    client.dropConnection(); // there is none yet
    client.follow(ACCOUNT, () => undefined);
    await settle();
    const first = FakeSocket.last;
    client.dropConnection();
    expect(first?.isClosed).toBe(true);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(FakeSocket.last).not.toBe(first);
    expect(kinds).toEqual(['connected', 'changed', 'disconnected', 'connected', 'resumed']);
    expect(client.counters).toMatchObject({ connections: 2, resumes: 1, gaps: 0 });
    stop();
    client.dropConnection();
    expect(kinds).toHaveLength(5);
  });

  it('rejects an id that is not the id of an account', () => {
    expect(() => client.follow('no account', () => undefined)).toThrow(RangeError);
  });
});
