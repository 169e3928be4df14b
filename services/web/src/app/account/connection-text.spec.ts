import { describe, expect, it } from 'vitest';
import type { Instant } from '@livebalance/client';

import { Simulation } from '@livebalance/client/connection/simulation.fake';
import type { PageSession } from '../connection/gateway-client';
import { connectionText, formatAge, overviewText } from './connection-text';

const CLOCK_SKEW = 1_000_000; // milliseconds by which the gateway's clock is ahead
const instantAt = (ms: number) => new Date(ms).toISOString() as Instant;

/** Returns a subscribed session whose `asOf` has the given age at time 0. */
function subscribedSession(
  age: number | null,
  state: 'live' | 'catching_up' | 'stalled' = 'live',
): PageSession {
  const simulation = new Simulation();
  simulation.acceptConnection();
  simulation.deliver();
  const {
    channel,
    session: { connection },
  } = simulation;
  if (connection.kind !== 'open' || channel === null) expect.fail('the connection is not open');
  return {
    clockSkew: CLOCK_SKEW,
    hidden: false,
    patches: false,
    connection: {
      ...connection,
      status: { state, ...(state === 'stalled' ? { reason: 'history lost' } : {}) },
    },
    channel: {
      ...channel,
      asOf: age === null ? null : instantAt(CLOCK_SKEW - age),
      phase: { kind: 'subscribed' },
    },
  };
}

describe('connectionText', () => {
  it('is "Live" while the data are confirmed', () => {
    expect(connectionText(subscribedSession(3_000), 0)).toEqual({ state: 'live', text: 'Live' });
  });

  it('is "Delayed" if the data have not been confirmed recently', () => {
    expect(connectionText(subscribedSession(3_000), 30_000)).toMatchObject({
      state: 'stalled',
      text: 'Delayed, last confirmed 33 s ago',
      announcement: 'Delayed: the gateway has not confirmed the data recently',
    });
  });

  it('is not "Live" while nothing says how old the data are', () => {
    expect(connectionText(subscribedSession(null), 0).state).toBe('catching-up');
  });

  it('follows the status of the gateway', () => {
    expect(connectionText(subscribedSession(3_000, 'stalled'), 0).text).toBe('Delayed: history lost');
    expect(connectionText(subscribedSession(3_000, 'catching_up'), 0).text).toBe('Catching up');
  });

  it('counts down to the next attempt while disconnected', () => {
    const connection = { kind: 'waiting', attempt: 3, until: 2_500, reason: 'the gateway is busy' } as const;
    const waiting = { ...subscribedSession(null), connection };
    expect(connectionText(waiting, 0)).toMatchObject({
      text: 'Reconnecting in 3 s',
      announcement: 'Reconnecting: the gateway is busy',
      detail: 'the gateway is busy',
    });
    expect(connectionText(waiting, 2_400).text).toBe('Reconnecting');
  });

  it('gives the reason if the account cannot be shown', () => {
    const session = subscribedSession(0);
    const rejected = (code: string, message: string): PageSession => ({
      ...session,
      channel: session.channel && { ...session.channel, phase: { kind: 'rejected', code, message } },
    });
    expect(connectionText(rejected('gone', ''), 0)).toEqual({
      state: 'rejected',
      text: 'This account was erased',
    });
    expect(connectionText(rejected('some_later_code', 'the message'), 0).text).toBe('the message');
  });

  it('gives the reason if the session has ended', () => {
    const connection = { kind: 'ended', code: 4503, reason: 'access was revoked' } as const;
    expect(connectionText({ ...subscribedSession(0), connection }, 0).text).toBe(
      'Disconnected: access was revoked',
    );
  });
});

describe('overviewText', () => {
  it('names the time that the accounts are complete as of', () => {
    expect(overviewText('10:30:00', 5_000)).toMatchObject({
      state: 'live',
      text: 'Up to date as of 10:30:00',
    });
  });

  it('is "Delayed" if the accounts have not been confirmed recently', () => {
    expect(overviewText('10:30:00', 45_000)).toMatchObject({
      state: 'stalled',
      text: 'Delayed, last confirmed 45 s ago',
    });
  });

  it('is not up to date if the gateway names no time', () => {
    expect(overviewText(null, null).state).toBe('catching-up');
  });
});

describe('formatAge', () => {
  it('uses seconds, minutes or hours', () => {
    expect([400, 12_000, 200_000, 8_000_000].map(formatAge)).toEqual([
      'just now',
      '12 s ago',
      '3 min ago',
      '2 h ago',
    ]);
  });
});
