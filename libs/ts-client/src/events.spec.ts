import { describe, expect, it } from 'vitest';

import { step } from './connection/session.js';
import { NEW_SESSION, type SessionEvent } from './connection/session-state.js';
import { NO_COUNTERS, count, eventsOf, type ClientEvent, type Counters } from './events.js';
import type { Delta, ServerFrame, Snapshot } from './wire/frame.js';
import type { AccountId } from './wire/identity.js';

const ACCOUNT = 'acc-1' as AccountId;
const CHANNEL = `account:${ACCOUNT}`;

/** Runs events through the session, 1,500 ms after each other, and returns what happened to the client. */
function run(...events: SessionEvent[]): { happened: ClientEvent[]; counters: Counters } {
  let session = NEW_SESSION;
  const happened: ClientEvent[] = [];
  events.forEach((event, serial) => {
    const context = { now: serial * 1_500, jitter: 0, serial };
    const [next, ...effects] = step(session, event, context);
    happened.push(...eventsOf(session, next, effects, context.now));
    session = next;
  });
  return { happened, counters: happened.reduce(count, NO_COUNTERS) };
}

const received = (frame: object): SessionEvent => ({ kind: 'received', frame: frame as ServerFrame });
const follow: SessionEvent = { kind: 'follow', added: new Map([[ACCOUNT, null]]), removed: [] };
const closed: SessionEvent = { kind: 'closed', code: 1006, reason: '' };
const welcome = (gateway: string) =>
  received({
    type: 'welcome',
    session: 's',
    gateway,
    version: '1',
    features: ['demo'],
    server_time: '2026-11-24T17:20:00.000Z',
    heartbeat_ms: 10_000,
  });
const snapshot = (revision: number, reason: Snapshot['reason'] = 'subscribed') =>
  received({ type: 'snapshot', channel: CHANNEL, epoch: 'e', revision, reason, transfers: [], as_of: null });
const delta = (from: number, to: number, fields: Partial<Delta> = {}) =>
  received({ type: 'delta', channel: CHANNEL, epoch: 'e', from, to, transfers: [], ...fields });
const ok = (id: string) => received({ type: 'ok', id });
const opened: SessionEvent = { kind: 'opened', token: null };
const tick: SessionEvent = { kind: 'tick' };
const connect = (gateway: string) => [opened, welcome(gateway)];
const withoutChanges = (happened: readonly ClientEvent[]) =>
  happened.filter(({ kind }) => kind !== 'changed');

describe('events', () => {
  it('of a lost connection are its reason, the new gateway, and the revisions that were replayed', () => {
    const lost = [follow, ...connect('gateway-1'), snapshot(41), closed, tick];
    const { happened, counters } = run(
      ...lost,
      ...connect('gateway-2'),
      delta(41, 43, { more: true }),
      delta(43, 44),
      delta(44, 45),
    );
    expect(withoutChanges(happened)).toEqual([
      { kind: 'connected', gateway: 'gateway-1', session: 's', features: ['demo'] },
      { kind: 'disconnected', reason: 'connection lost', retryInMs: expect.any(Number) as number },
      { kind: 'connected', gateway: 'gateway-2', session: 's', features: ['demo'] },
      { kind: 'resumed', account: ACCOUNT, from: 41, to: 44 },
    ]);
    expect(counters).toEqual({
      ...NO_COUNTERS,
      connections: 2,
      snapshots: { ...NO_COUNTERS.snapshots, subscribed: 1 },
      resumes: 1,
      replayed: 3,
      deltas: 1,
      revisions: 1,
    });
    const recovered = happened.flatMap((event) => (event.kind === 'changed' ? [event.recovered] : []));
    expect(recovered).toEqual([true, true, true, false]);
  });

  it('of a resume without missed revisions have equal revisions', () => {
    const lost = [follow, ...connect('gateway-1'), snapshot(41), closed, tick];
    const { happened } = run(...lost, ...connect('gateway-2'), ok('s7'));
    expect(happened.at(-1)).toEqual({ kind: 'resumed', account: ACCOUNT, from: 41, to: 41 });
  });

  it('of a snapshot instead of a resume are no resume', () => {
    const lost = [follow, ...connect('gateway-1'), snapshot(41), closed, tick];
    const { happened, counters } = run(...lost, ...connect('gateway-2'), snapshot(9_000, 'too_far'));
    expect(happened.some(({ kind }) => kind === 'resumed')).toBe(false);
    expect(counters.snapshots).toEqual({ subscribed: 1, too_far: 1, ahead: 0, epoch: 0 });
  });

  it('of a gap are the gap and its repair', () => {
    const { happened, counters } = run(
      follow,
      ...connect('gateway-1'),
      snapshot(41),
      delta(43, 44), // revisions 42 and 43 are missing
      delta(41, 44),
    );
    expect(withoutChanges(happened).slice(1)).toEqual([
      { kind: 'gap', account: ACCOUNT },
      { kind: 'resumed', account: ACCOUNT, from: 41, to: 44 },
      { kind: 'repaired', account: ACCOUNT, gaps: 1 },
    ]);
    expect(counters).toMatchObject({ gaps: 1, repaired: 1, resumes: 1, replayed: 3, deltas: 0 });
  });

  it('count deltas with more than one revision as conflated', () => {
    const { counters } = run(follow, ...connect('g'), snapshot(1), delta(1, 2), delta(2, 5));
    expect(counters).toMatchObject({ deltas: 2, revisions: 4, conflated: 1 });
  });

  it('of a client that follows nothing any more, or was rejected, name no retry', () => {
    const left: SessionEvent = { kind: 'follow', added: new Map(), removed: [ACCOUNT] };
    const revoked: SessionEvent = { kind: 'closed', code: 4503, reason: '' };
    for (const last of [left, revoked])
      expect(run(follow, ...connect('g'), snapshot(1), last).happened.at(-1)).toMatchObject({
        kind: 'disconnected',
        retryInMs: null,
      });
  });
});
