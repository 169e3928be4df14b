/** Tells how current the state of an account or a set is. See `docs/guarantees.md#the-guarantees`, G7. */

import { millis } from '../wire/identity.js';
import type { Channel } from './channel.js';
import type { Session } from './session-state.js';

/** Longest time without a confirmed `as_of` before a state counts as delayed: the larger of both values. */
const SILENT_HEARTBEATS = 2.5;
const SILENT_MS = 15_000;

/** Returns the age of the channel's `asOf` by the gateway's clock, in milliseconds; null if it is unknown. */
export function asOfAge(
  channel: Pick<Channel, 'asOf'>,
  clockSkew: number | null,
  now: number,
): number | null {
  if (channel.asOf === null || clockSkew === null) return null;
  return Math.max(0, now + clockSkew - millis(channel.asOf));
}

/** Tells whether the gateway has not confirmed the state for so long that it counts as delayed. */
export function isDelayed(age: number, heartbeatMs: number): boolean {
  return age > Math.max(SILENT_HEARTBEATS * heartbeatMs, SILENT_MS);
}

/** Tells whether a state is current: the gateway sends every change, and has confirmed it recently. */
export function isLive(
  { connection, clockSkew }: Session,
  channel: Pick<Channel, 'asOf' | 'phase'>,
  now: number,
): boolean {
  const age = asOfAge(channel, clockSkew, now);
  return (
    age !== null &&
    connection.kind === 'open' &&
    connection.status.state === 'live' &&
    channel.phase.kind === 'subscribed' &&
    !isDelayed(age, connection.heartbeatMs)
  );
}
