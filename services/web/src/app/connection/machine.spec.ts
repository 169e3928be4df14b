import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';

import { backoffMs } from './backoff';
import { HEARTBEAT_MS } from './gateway.fake';
import type { Instant } from '../wire/identity';
import { step } from './machine';
import { isForbidden, wakeAt, type Effect, type Event, type Machine } from './state';
import { ACCOUNT, World } from './world.fake';

/** A client that is welcomed, answered and live. */
function live(): World {
  const world = new World();
  world.truth.transfer(1);
  world.accept();
  world.deliver();
  world.serve((gateway, frame) => {
    gateway.answer(frame, true);
  });
  deliverAll(world);
  return world;
}

function deliverAll(world: World): void {
  while ((world.gateway?.outbound.length ?? 0) > 0) world.deliver();
}

function waitOf({ machine, now }: World): number {
  if (machine.link.kind !== 'waiting') expect.fail(`waiting, not ${machine.link.kind}`);
  return machine.link.until - now;
}

function effectsOf(machine: Machine, event: Event, now: number, chance = 0.5): Effect[] {
  const [, ...effects] = step(machine, event, { now, chance, serial: 999 });
  return effects;
}

let world: World;
beforeEach(() => {
  world = live();
});

describe('a token', () => {
  it('is the first thing that is said', () => {
    const fresh = new World();
    const effects = effectsOf(fresh.machine, { kind: 'opened', token: 'a.b.c' }, fresh.now);
    expect(effects).toEqual([{ kind: 'send', frame: { type: 'auth', token: 'a.b.c' } }]);
    expect(effectsOf(fresh.machine, { kind: 'opened', token: null }, fresh.now)).toEqual([]);
  });

  it('is replaced before it ends, and nothing else changes', () => {
    const before = world.machine;
    const frame = { type: 'auth_expiring', expires_at: '2026-11-24T17:20:00.000Z' as Instant } as const;
    expect(effectsOf(world.machine, { kind: 'heard', frame }, world.now)).toEqual([{ kind: 'renew' }]);
    expect(effectsOf(world.machine, { kind: 'renewed', token: 'd.e.f' }, world.now)).toEqual([
      { kind: 'send', frame: { type: 'refresh', id: 'a999', token: 'd.e.f' } },
    ]);
    world.dispatch({ kind: 'renewed', token: 'd.e.f' });
    expect(world.machine).toEqual(before);
  });

  it('that is past its time brings the page back with another', () => {
    world.cut(4001, '{"code":"token_expired","retry_after_ms":0}');
    expect(world.machine.link).toMatchObject({ kind: 'waiting', why: 'the session expired' });
  });

  it('that is not taken ends it, and what was shown is hidden', () => {
    world.cut(4501, '{"code":"unauthenticated"}');
    expect(world.machine.link).toMatchObject({ kind: 'ended', why: 'not signed in' });
    expect(isForbidden(world.machine)).toBe(true);
  });
});

describe('a dead socket', () => {
  it('is given up after two and a half heartbeats without a frame', () => {
    world.silent = true;
    world.pass(2.5 * HEARTBEAT_MS - 1);
    expect(world.machine.link.kind).toBe('open');
    world.pass(1);
    expect(world.machine.link).toMatchObject({ kind: 'waiting', why: 'connection lost' });
  });

  it('lives on with any frame, also one of an unknown type', () => {
    world.pass(20_000);
    world.dispatch({ kind: 'heard', frame: null });
    world.pass(20_000);
    expect(world.machine.link.kind).toBe('open');
  });

  it('is found out at once by a client that slept through its deadline', () => {
    world.now += 8 * 3_600_000;
    world.dispatch({ kind: 'tick' });
    expect(world.machine.link.kind).toBe('waiting');
  });

  it('is asked for less while nobody sees the page, also after it was lost', () => {
    const rates = () =>
      world.sent.filter((frame) => frame.type === 'rate').map((rate) => rate.max_per_second);
    world.dispatch({ kind: 'hid' });
    expect(rates()).toEqual([1]);
    world.cut(1006, '');
    world.pass(20_000);
    world.accept();
    world.deliver();
    expect(world.machine.link.kind).toBe('open');
    expect(rates().at(-1)).toBe(1);
    world.dispatch({ kind: 'woke' });
    expect(rates().at(-1)).toBe(null);
    world.dispatch({ kind: 'woke' });
    expect(rates().filter((rate) => rate === null)).toHaveLength(1);
  });

  it('has to answer a ping soon after a page woke up', () => {
    world.dispatch({ kind: 'woke' });
    expect(world.sent).toEqual([{ type: 'ping', id: expect.stringMatching(/^p\d+$/) as string }]);
    world.silent = true;
    world.pass(5_000);
    expect(world.machine.link.kind).toBe('waiting');
  });

  it('that never welcomes is given up', () => {
    const greeting = new World();
    greeting.accept();
    greeting.pass(10_000);
    expect(greeting.machine.link).toMatchObject({ kind: 'waiting', why: 'no answer' });
  });

  it('that does not answer a question is given up', () => {
    const asked = new World();
    asked.accept();
    asked.deliver();
    for (let s = 0; s < 10; s += 1) {
      asked.pass(1_000);
      asked.dispatch({ kind: 'heard', frame: null });
    }
    expect(asked.machine.link).toMatchObject({ kind: 'waiting', why: 'no answer' });
  });
});

describe('coming back', () => {
  it('waits at most half a second the first time, and never more than 20 s', () => {
    fc.assert(
      fc.property(fc.nat({ max: 200 }), fc.double({ min: 0, max: 0.999, noNaN: true }), (attempt, chance) => {
        const wait = backoffMs(attempt, chance);
        expect(wait).toBeGreaterThanOrEqual(0);
        expect(wait).toBeLessThanOrEqual(Math.min(20_000, 500 * 2 ** attempt));
      }),
    );
    expect(backoffMs(50, 0.5)).toBe(10_000);
  });

  it('doubles while it fails, and starts anew after a connection that held', () => {
    world.pass(6_000);
    world.cut(1006);
    expect(waitOf(world)).toBe(250);
    for (const expected of [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]) {
      world.pass(waitOf(world));
      world.refuse();
      expect(waitOf(world)).toBe(expected);
    }
  });

  it('asks from its position, and shows what it had meanwhile', () => {
    const shown = world.ledger;
    world.cut(1006);
    expect(world.ledger).toBe(shown);
    world.pass(1_000);
    world.accept();
    world.deliver();
    const position = { epoch: world.truth.epoch, revision: world.truth.revision };
    expect(world.sent.at(-1)).toMatchObject({ channels: [{ channel: `account:${ACCOUNT}`, position }] });
  });

  it('after a goodbye comes within the time given', () => {
    world.cut(4000, '{"retry_after_ms":3000}');
    expect(waitOf(world)).toBe(1_500);
  });

  it('to a busy gateway not before the time given', () => {
    world.cut(4013, '{"retry_after_ms":3000}');
    expect(waitOf(world)).toBe(3_250);
  });

  it.each([4500, 4501, 4503, 4505, 4509, 4777, 1008])('does not after %i, until a person asks', (code) => {
    world.cut(code);
    expect(world.machine.link.kind).toBe('ended');
    expect(wakeAt(world.machine)).toBeNull();
    world.pass(3_600_000);
    expect(world.machine.link.kind).toBe('ended');
    world.dispatch({ kind: 'again' });
    expect(world.machine.link.kind).toBe('connecting');
  });

  it('loads the page anew after 4506', () => {
    expect(effectsOf(world.machine, { kind: 'closed', code: 4506, reason: '' }, 0)).toContainEqual({
      kind: 'reload',
    });
  });

  it('leaves a gateway that goes away within its time', () => {
    const frame = { type: 'goaway', reason: 'drain', reconnect_within_ms: 4_000 } as const;
    world.dispatch({ kind: 'heard', frame });
    world.pass(1_999);
    expect(world.machine.link.kind).toBe('open');
    world.pass(1);
    expect(world.machine.link.kind).toBe('connecting');
  });

  it('is hurried by a page that wakes', () => {
    for (let n = 0; n < 6; n += 1) {
      world.cut(1006);
      world.refuse();
      world.pass(waitOf(world));
    }
    world.refuse();
    expect(waitOf(world)).toBeGreaterThan(5_000);
    world.dispatch({ kind: 'woke' });
    expect(waitOf(world)).toBe(250);
  });
});

describe('the chain', () => {
  it('asks again for a hole, counts it, and keeps what is shown', () => {
    const shown = world.ledger;
    world.pass(2_000);
    world.truth.transfer(2);
    world.gateway?.lose();
    world.truth.transfer(3);
    world.gateway?.publish();
    deliverAll(world);
    expect(world.machine.channel?.gaps).toBe(1);
    expect(world.ledger).toBe(shown);
    world.serve((gateway, frame) => {
      gateway.answer(frame, false);
    });
    deliverAll(world);
    expect(world.ledger?.rows).toEqual(world.truth.rows());
  });

  it('asks a gateway that keeps making holes once a second at most', () => {
    for (let n = 0; n < 100; n += 1) {
      world.truth.transfer(2);
      world.gateway?.lose();
      world.truth.transfer(3);
      world.gateway?.publish();
      deliverAll(world);
      world.serve((gateway, frame) => {
        gateway.answer(frame, true);
      });
      world.pass(100);
    }
    expect(Number(world.machine.channel?.askedAt)).toBeGreaterThan(0);
    expect(world.machine.channel?.gaps).toBeLessThanOrEqual(12);
  });

  it('hears no more of an account that was left', () => {
    const next = 'acc-2' as typeof ACCOUNT;
    world.truth.transfer(9);
    world.gateway?.publish();
    world.dispatch({ kind: 'follow', account: next });
    const shown = world.ledger;
    deliverAll(world);
    expect(world.ledger).toBe(shown);
    expect(world.sent).toMatchObject([
      { type: 'unsubscribe', channels: [`account:${ACCOUNT}`] },
      { type: 'subscribe', channels: [{ channel: 'account:acc-2' }] },
    ]);
  });

  it('forgets an account that is not for this reader any more', () => {
    const frame = {
      type: 'unsubscribed',
      channel: `account:${ACCOUNT}`,
      code: 'gone',
      message: 'erased',
    } as const;
    world.dispatch({ kind: 'heard', frame });
    expect(world.machine.channel).toMatchObject({ position: null, phase: { kind: 'refused', code: 'gone' } });
  });

  it('hangs up on what is no frame', () => {
    world.dispatch({ kind: 'garbled' });
    expect(world.machine.link.kind).toBe('waiting');
  });
});
