import { describe, expect, it } from 'vitest';

import type { Instant } from '../wire/identity.js';
import { asOfAge, isDelayed, isLive } from './freshness.js';
import { newChannel, type Channel } from './channel.js';
import { HEARTBEAT_MS } from './gateway.fake.js';
import { ACCOUNT, Simulation } from './simulation.fake.js';
import type { Session } from './session-state.js';

const CLOCK_SKEW = 1_000_000; // milliseconds by which the gateway's clock is ahead

/** Returns a channel whose `asOf` has the given age at time 0. */
function channelOf(age: number | null): Channel {
  const asOf = age === null ? null : (new Date(CLOCK_SKEW - age).toISOString() as Instant);
  return { ...newChannel(ACCOUNT), asOf, phase: { kind: 'subscribed' } };
}

/** Returns a session with an open connection. */
function openSession(state: 'live' | 'catching_up' | 'stalled'): Session {
  const simulation = new Simulation();
  simulation.acceptConnection();
  simulation.deliver();
  const { connection } = simulation.session;
  if (connection.kind !== 'open') expect.fail('the connection is not open');
  return { ...simulation.session, clockSkew: CLOCK_SKEW, connection: { ...connection, status: { state } } };
}

describe('asOfAge', () => {
  it('is measured by the clock of the gateway', () => {
    expect(asOfAge(channelOf(4_000), CLOCK_SKEW, 500)).toBe(4_500);
  });

  it("is null if as_of or the gateway's clock is unknown", () => {
    expect(asOfAge(channelOf(null), CLOCK_SKEW, 500)).toBeNull();
    expect(asOfAge(channelOf(4_000), null, 500)).toBeNull();
  });
});

describe('a state', () => {
  it('counts as delayed after 2.5 heartbeats without confirmation, or 15 s if that is longer', () => {
    expect(isDelayed(2.5 * HEARTBEAT_MS, HEARTBEAT_MS)).toBe(false);
    expect(isDelayed(2.5 * HEARTBEAT_MS + 1, HEARTBEAT_MS)).toBe(true);
    expect(isDelayed(15_000, 1_000)).toBe(false);
    expect(isDelayed(15_001, 1_000)).toBe(true);
  });

  it('is live only while the gateway sends every change and has confirmed the state recently', () => {
    const [live, channel] = [openSession('live'), channelOf(0)];
    expect(isLive(live, channel, 0)).toBe(true);
    expect(isLive(live, channel, 2.5 * HEARTBEAT_MS + 1)).toBe(false);
    expect(isLive(openSession('stalled'), channel, 0)).toBe(false);
    expect(isLive(openSession('catching_up'), channel, 0)).toBe(false);
    expect(isLive(live, { ...channel, phase: { kind: 'deferred', until: 1 } }, 0)).toBe(false);
    expect(isLive(live, channelOf(null), 0)).toBe(false);
    expect(isLive({ ...live, connection: { kind: 'idle' } }, channel, 0)).toBe(false);
  });
});
