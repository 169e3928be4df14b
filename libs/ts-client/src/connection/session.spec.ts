import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';

import type { Instant } from '../wire/identity.js';
import { backoffMs } from './backoff.js';
import { HEARTBEAT_MS } from './gateway.fake.js';
import { step } from './session.js';
import { isForbidden, wakeAt, type Session, type SessionEffect, type SessionEvent } from './session-state.js';
import { ACCOUNT, Simulation } from './simulation.fake.js';

/** Returns a simulation whose client is subscribed and up to date. */
function liveSimulation(): Simulation {
  const live = new Simulation();
  live.projection.addTransfer(1);
  live.acceptConnection();
  live.deliver();
  live.serve((gateway, frame) => {
    gateway.answer(frame, true);
  });
  live.deliverAll();
  return live;
}

function delayOf({ session, now }: Simulation): number {
  if (session.connection.kind !== 'waiting') expect.fail(`expected waiting, not ${session.connection.kind}`);
  return session.connection.until - now;
}

function effectsOf(session: Session, event: SessionEvent, now: number, jitter = 0.5): SessionEffect[] {
  const [, ...effects] = step(session, event, { now, jitter, serial: 999 });
  return effects;
}

let simulation: Simulation;
beforeEach(() => {
  simulation = liveSimulation();
});

describe('token', () => {
  it('is sent in the first frame, if there is a token', () => {
    const { session, now } = new Simulation();
    const effects = effectsOf(session, { kind: 'opened', token: 'a.b.c' }, now);
    expect(effects).toEqual([{ kind: 'send', frame: { type: 'auth', token: 'a.b.c' } }]);
    expect(effectsOf(session, { kind: 'opened', token: null }, now)).toEqual([]);
  });

  it('is renewed before it expires, without changing the session', () => {
    const before = simulation.session;
    const frame = { type: 'auth_expiring', expires_at: '2026-11-24T17:20:00.000Z' as Instant } as const;
    expect(effectsOf(before, { kind: 'received', frame }, simulation.now)).toEqual([{ kind: 'renew' }]);
    expect(effectsOf(before, { kind: 'renewed', token: 'd.e.f' }, simulation.now)).toEqual([
      { kind: 'send', frame: { type: 'refresh', id: 'a999', token: 'd.e.f' } },
    ]);
    simulation.dispatch({ kind: 'renewed', token: 'd.e.f' });
    expect(simulation.session).toEqual(before);
  });

  it('that expired makes the session reconnect', () => {
    simulation.closeConnection(4001, '{"code":"token_expired","retry_after_ms":0}');
    expect(simulation.session.connection).toMatchObject({ kind: 'waiting', reason: 'the session expired' });
  });

  it('that is rejected ends the session and hides the account', () => {
    simulation.closeConnection(4501, '{"code":"unauthenticated"}');
    expect(simulation.session.connection).toMatchObject({ kind: 'ended', reason: 'not signed in' });
    expect(isForbidden(simulation.session, simulation.channel ?? undefined)).toBe(true);
  });
});

describe('connection', () => {
  it('is lost after two and a half heartbeat intervals without a frame', () => {
    simulation.halfOpen = true;
    simulation.advance(2.5 * HEARTBEAT_MS - 1);
    expect(simulation.session.connection.kind).toBe('open');
    simulation.advance(1);
    expect(simulation.session.connection).toMatchObject({ kind: 'waiting', reason: 'connection lost' });
  });

  it('stays open after any frame, even of an unknown type', () => {
    simulation.advance(20_000);
    simulation.dispatch({ kind: 'received', frame: null });
    simulation.advance(20_000);
    expect(simulation.session.connection.kind).toBe('open');
  });

  it('is lost at the first tick after the computer slept past the deadline', () => {
    simulation.now += 8 * 3_600_000;
    simulation.dispatch({ kind: 'tick' });
    expect(simulation.session.connection.kind).toBe('waiting');
  });

  it('is lost at the first frame after that, whose times are old', () => {
    const sentAt = '2026-11-24T17:20:00.000Z' as Instant;
    simulation.now += 8 * 3_600_000;
    const frame = { type: 'heartbeat', server_time: sentAt, as_of: sentAt } as const;
    simulation.dispatch({ kind: 'received', frame });
    expect(simulation.session.connection.kind).toBe('waiting');
  });

  it('has a low rate while the page is hidden, even after a reconnect', () => {
    const rates = () =>
      simulation.sent.filter((frame) => frame.type === 'rate').map((rate) => rate.max_per_second);
    simulation.dispatch({ kind: 'hidden' });
    expect(rates()).toEqual([1]);
    simulation.closeConnection(1006, '');
    simulation.advance(20_000);
    simulation.acceptConnection();
    simulation.deliver();
    expect(simulation.session.connection.kind).toBe('open');
    expect(rates().at(-1)).toBe(1);
    simulation.dispatch({ kind: 'woke' });
    expect(rates().at(-1)).toBe(null);
    simulation.dispatch({ kind: 'woke' });
    expect(rates().filter((rate) => rate === null)).toHaveLength(1);
  });

  it('is lost if the gateway does not answer a ping soon after the page woke', () => {
    simulation.dispatch({ kind: 'woke' });
    expect(simulation.sent).toEqual([{ type: 'ping', id: expect.stringMatching(/^p\d+$/) as string }]);
    simulation.halfOpen = true;
    simulation.advance(5_000);
    expect(simulation.session.connection.kind).toBe('waiting');
  });

  it('is closed if the gateway sends no welcome', () => {
    const unwelcomed = new Simulation();
    unwelcomed.acceptConnection();
    unwelcomed.advance(10_000);
    expect(unwelcomed.session.connection).toMatchObject({
      kind: 'waiting',
      reason: 'the gateway did not answer',
    });
  });

  it('is closed if the gateway does not answer a subscribe', () => {
    const unanswered = new Simulation();
    unanswered.acceptConnection();
    unanswered.deliver();
    for (let second = 0; second < 10; second += 1) {
      unanswered.advance(1_000);
      unanswered.dispatch({ kind: 'received', frame: null });
    }
    expect(unanswered.session.connection).toMatchObject({
      kind: 'waiting',
      reason: 'the gateway did not answer',
    });
  });

  it('is closed after an invalid message', () => {
    simulation.dispatch({ kind: 'invalid' });
    expect(simulation.session.connection.kind).toBe('waiting');
  });
});

describe('reconnect', () => {
  it('waits at most 0.5 s the first time, and never more than 20 s', () => {
    fc.assert(
      fc.property(fc.nat({ max: 200 }), fc.double({ min: 0, max: 0.999, noNaN: true }), (attempt, jitter) => {
        const delay = backoffMs(attempt, jitter);
        expect(delay).toBeGreaterThanOrEqual(0);
        expect(delay).toBeLessThanOrEqual(Math.min(20_000, 500 * 2 ** attempt));
      }),
    );
    expect(backoffMs(50, 0.5)).toBe(10_000);
  });

  it('doubles its delay with each failure, starting again after a stable connection', () => {
    simulation.advance(6_000);
    simulation.closeConnection(1006);
    expect(delayOf(simulation)).toBe(250);
    for (const expected of [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]) {
      simulation.advance(delayOf(simulation));
      simulation.refuseConnection();
      expect(delayOf(simulation)).toBe(expected);
    }
  });

  it('resumes from the position, and keeps the shown state meanwhile', () => {
    const before = simulation.state;
    simulation.closeConnection(1006);
    expect(simulation.state).toBe(before);
    simulation.advance(1_000);
    simulation.acceptConnection();
    simulation.deliver();
    const position = { epoch: simulation.projection.epoch, revision: simulation.projection.revision };
    expect(simulation.sent.at(-1)).toMatchObject({ channels: [{ channel: `account:${ACCOUNT}`, position }] });
  });

  it('comes within retry_after_ms after a close with 4000', () => {
    simulation.closeConnection(4000, '{"retry_after_ms":3000}');
    expect(delayOf(simulation)).toBe(1_500);
  });

  it('starts with the shortest delay if the first attempt after a close with 4000 is refused', () => {
    simulation.closeConnection(4000, '{"retry_after_ms":100}');
    simulation.advance(delayOf(simulation));
    simulation.refuseConnection();
    expect(delayOf(simulation)).toBe(250);
  });

  it('comes no earlier than retry_after_ms after a close with 4013', () => {
    simulation.closeConnection(4013, '{"retry_after_ms":3000}');
    expect(delayOf(simulation)).toBe(3_250);
  });

  it.each([4500, 4501, 4503, 4509, 4777, 1008])(
    'does not happen after a close with %i until the user retries',
    (code) => {
      simulation.closeConnection(code);
      expect(simulation.session.connection.kind).toBe('ended');
      expect(wakeAt(simulation.session)).toBeNull();
      simulation.advance(3_600_000);
      expect(simulation.session.connection.kind).toBe('ended');
      simulation.dispatch({ kind: 'retry' });
      expect(simulation.session.connection.kind).toBe('connecting');
    },
  );

  it('comes after a while with 4505 if there was a connection, because the lost ones still count', () => {
    simulation.closeConnection(4505);
    expect(delayOf(simulation)).toBe(45_000);
  });

  it('does not happen after a close with 4505 without an earlier connection', () => {
    const first = new Simulation();
    first.acceptConnection();
    first.closeConnection(4505);
    expect(first.session.connection.kind).toBe('ended');
    expect(wakeAt(first.session)).toBeNull();
  });

  it('is replaced by a reload after a close with 4506', () => {
    const closed = { kind: 'closed', code: 4506, reason: '' } as const;
    expect(effectsOf(simulation.session, closed, 0)).toContainEqual({ kind: 'reload' });
  });

  it('happens within the announced time if the gateway sends goaway', () => {
    const frame = { type: 'goaway', reason: 'drain', reconnect_within_ms: 4_000 } as const;
    simulation.dispatch({ kind: 'received', frame });
    simulation.advance(1_999);
    expect(simulation.session.connection.kind).toBe('open');
    simulation.advance(1);
    expect(simulation.session.connection.kind).toBe('connecting');
  });

  it('happens sooner if the page wakes', () => {
    for (let n = 0; n < 6; n += 1) {
      simulation.closeConnection(1006);
      simulation.refuseConnection();
      simulation.advance(delayOf(simulation));
    }
    simulation.refuseConnection();
    expect(delayOf(simulation)).toBeGreaterThan(5_000);
    simulation.dispatch({ kind: 'woke' });
    expect(delayOf(simulation)).toBe(250);
  });
});

describe('channel', () => {
  it('counts a gap, keeps the shown state and recovers', () => {
    const before = simulation.state;
    simulation.advance(2_000);
    simulation.projection.addTransfer(2);
    simulation.gateway?.loseDelta();
    simulation.projection.addTransfer(3);
    simulation.gateway?.publish();
    simulation.deliverAll();
    expect(simulation.channel?.gaps).toBe(1);
    expect(simulation.state).toBe(before);
    simulation.serve((gateway, frame) => {
      gateway.answer(frame, false);
    });
    simulation.deliverAll();
    expect(simulation.state?.rows).toEqual(simulation.projection.rows());
  });

  it('subscribes at most once a second if the gateway keeps causing gaps', () => {
    for (let n = 0; n < 100; n += 1) {
      simulation.projection.addTransfer(2);
      simulation.gateway?.loseDelta();
      simulation.projection.addTransfer(3);
      simulation.gateway?.publish();
      simulation.deliverAll();
      simulation.serve((gateway, frame) => {
        gateway.answer(frame, true);
      });
      simulation.advance(100);
    }
    expect(Number(simulation.channel?.subscribedAt)).toBeGreaterThan(0);
    expect(simulation.channel?.gaps).toBeLessThanOrEqual(12);
  });

  it('ignores late frames of an account that the user left', () => {
    const other = 'acc-2' as typeof ACCOUNT;
    simulation.projection.addTransfer(9);
    simulation.gateway?.publish();
    simulation.dispatch({ kind: 'follow', added: new Map([[other, null]]), removed: [ACCOUNT] });
    const before = simulation.state;
    simulation.deliverAll();
    expect(simulation.state).toBe(before);
    expect(simulation.sent).toMatchObject([
      { type: 'unsubscribe', channels: [`account:${ACCOUNT}`] },
      { type: 'subscribe', channels: [{ channel: 'account:acc-2' }] },
    ]);
  });

  it('discards its position if the gateway ends the subscription', () => {
    const frame = {
      type: 'unsubscribed',
      channel: `account:${ACCOUNT}`,
      code: 'gone',
      message: 'erased',
    } as const;
    simulation.dispatch({ kind: 'received', frame });
    expect(simulation.channel).toMatchObject({
      position: null,
      phase: { kind: 'rejected', code: 'gone' },
    });
  });

  it('begins at the position of a state that was kept', () => {
    const position = { epoch: simulation.projection.epoch, revision: simulation.projection.revision };
    const other = 'acc-2' as typeof ACCOUNT;
    simulation.dispatch({ kind: 'follow', added: new Map([[other, position]]), removed: [] });
    expect(simulation.sent).toMatchObject([
      { type: 'subscribe', channels: [{ channel: 'account:acc-2', position }] },
    ]);
  });
});

describe('a session with many accounts', () => {
  const many = Array.from({ length: 128 }, (_, n) => `acc-${n + 10}` as typeof ACCOUNT);
  const subscribes = () => simulation.sent.filter((frame) => frame.type === 'subscribe');
  beforeEach(() => {
    const added = new Map(many.map((account) => [account, null]));
    simulation.dispatch({ kind: 'follow', added, removed: [ACCOUNT] });
  });

  it('names them in as few frames as fit, each with an id of its own', () => {
    expect(subscribes().map(({ channels }) => channels.length)).toEqual([100, 28]);
    expect(new Set(subscribes().map(({ id }) => id)).size).toBe(2);
    expect(Math.max(...subscribes().map((frame) => JSON.stringify(frame).length))).toBeLessThan(16_384);
  });

  it('retries only the accounts of a rejected frame, in one frame', () => {
    const id = subscribes()[1]?.id ?? expect.fail('there is no second frame');
    const frame = { type: 'error', id, code: 'rate_limited', message: '', temporary: true } as const;
    simulation.sent = [];
    simulation.dispatch({ kind: 'received', frame });
    simulation.advance(2_000);
    expect(subscribes().map(({ channels }) => channels.length)).toEqual([28]);
  });

  it('retries them in few frames, although each is rejected at its own time', () => {
    const random = Array.from({ length: 128 }, (_, n) => (n * 37) % 100);
    simulation.sent = [];
    many.forEach((account, n) => {
      const frame = {
        type: 'error',
        channel: `account:${account}`,
        code: 'unavailable',
        message: '',
        temporary: true,
        retry_after_ms: 1_000 + 20 * (random[n] ?? 0),
      } as const;
      simulation.advance(7);
      simulation.dispatch({ kind: 'received', frame }, (random[n] ?? 0) / 100);
    });
    for (let n = 0; n < 1_000; n += 1) simulation.advance(5);
    const retried = subscribes().flatMap(({ channels }) => channels.map(({ channel }) => channel));
    expect(retried).toHaveLength(128);
    expect(subscribes().length).toBeLessThanOrEqual(4 * 5); // in five seconds
  });

  it('subscribes all accounts that are left after a reconnect', () => {
    simulation.dispatch({ kind: 'follow', added: new Map(), removed: many.slice(0, 100) });
    simulation.closeConnection(1006);
    simulation.advance(1_000);
    simulation.acceptConnection();
    simulation.deliver();
    const names = subscribes().flatMap(({ channels }) => channels.map(({ channel }) => channel));
    expect(names).toEqual(many.slice(100).map((account) => `account:${account}`));
  });

  it('keeps the connection until the last account is left', () => {
    simulation.dispatch({ kind: 'follow', added: new Map(), removed: many.slice(1) });
    expect(simulation.session.connection.kind).toBe('open');
    simulation.dispatch({ kind: 'follow', added: new Map(), removed: many.slice(0, 1) });
    expect(simulation.session.connection.kind).toBe('idle');
  });
});
