/** Texts about the connection and the freshness of the shown account. */

import type { Channel } from '../connection/channel';
import type { OpenConnection, Session } from '../connection/session-state';
import { millis } from '../wire/identity';
import { wording } from '../wording';

export type ConnectionText = {
  /** Name for styles and tests. The shown figures are up to date only in the state "live". */
  readonly state:
    'idle' | 'connecting' | 'live' | 'catching-up' | 'stalled' | 'reconnecting' | 'rejected' | 'ended';
  readonly text: string;
  /** The text for screen readers, if `text` contains a number that changes every second. */
  readonly announcement?: string;
  /** The cause, if it is not part of `text`. */
  readonly detail?: string;
};

/** Longest time without a confirmed `as_of` before the data count as delayed: the larger of both values. */
const SILENT_HEARTBEATS = 2.5;
const SILENT_MS = 15_000;

/** Returns the text of a session. `now` is in milliseconds on the session's clock. */
export function connectionText({ connection, channel, clockSkew }: Session, now: number): ConnectionText {
  const text = wording.connection;
  switch (connection.kind) {
    case 'idle':
      return { state: 'idle', text: text.none };
    case 'connecting':
    case 'handshake':
      return { state: 'connecting', text: connection.attempt > 0 ? text.reconnecting : text.connecting };
    case 'waiting':
      return {
        state: 'reconnecting',
        text: countdown(connection.until - now),
        announcement: text.reconnectingBecause(connection.reason),
        detail: connection.reason,
      };
    case 'ended':
      return { state: 'ended', text: text.disconnected(connection.reason) };
    case 'open':
      return openText(connection, channel, clockSkew, now);
  }
}

function countdown(ms: number): string {
  const seconds = Math.ceil(ms / 1_000);
  return seconds > 1 ? wording.connection.reconnectingIn(seconds) : wording.connection.reconnecting;
}

function openText(
  connection: OpenConnection,
  channel: Channel | null,
  clockSkew: number | null,
  now: number,
): ConnectionText {
  if (channel === null) return { state: 'idle', text: wording.connection.connected };
  if (channel.phase.kind === 'rejected') return rejectionText(channel.phase);
  const { status } = connection;
  if (status.state === 'stalled') {
    const { reason } = status;
    const { delayed, delayedReason } = wording.freshness;
    return { state: 'stalled', text: reason === undefined ? delayed : delayedReason(reason) };
  }
  const age = asOfAge(channel, clockSkew, now);
  // Without a confirmed time nothing says how old the figures are, so they do not count as live.
  if (channel.phase.kind !== 'subscribed' || status.state !== 'live' || age === null)
    return { state: 'catching-up', text: wording.connection.catchingUp };
  if (age > Math.max(SILENT_HEARTBEATS * connection.heartbeatMs, SILENT_MS)) return delayedText(age);
  return { state: 'live', text: wording.connection.live };
}

/** Returns the text of figures without a connection: complete as of `time`, `age` milliseconds ago. */
export function overviewText(time: string | null, age: number | null): ConnectionText {
  const text = wording.freshness;
  if (time === null || age === null) return { state: 'catching-up', text: text.unconfirmed };
  if (age > SILENT_MS) return delayedText(age);
  return { state: 'live', text: text.upToDateAsOf(time), announcement: text.isUpToDate };
}

function delayedText(age: number): ConnectionText {
  return {
    state: 'stalled',
    text: wording.freshness.lastConfirmed(formatAge(age)),
    announcement: wording.freshness.notConfirmedRecently,
  };
}

function rejectionText({ code, message }: { code: string; message: string }): ConnectionText {
  return { state: 'rejected', text: wording.connection.rejections[code] ?? message };
}

/** Returns the age of the channel's `asOf` by the gateway's clock, in milliseconds; null if it is unknown. */
export function asOfAge(channel: Channel, clockSkew: number | null, now: number): number | null {
  if (channel.asOf === null || clockSkew === null) return null;
  return Math.max(0, now + clockSkew - millis(channel.asOf));
}

/** Formats an age as "just now", "12 s ago", "3 min ago" or "2 h ago". */
export function formatAge(ms: number): string {
  const seconds = Math.floor(ms / 1_000);
  const text = wording.freshness;
  if (seconds < 1) return text.justNow;
  if (seconds < 120) return text.secondsAgo(seconds);
  return seconds < 7_200
    ? text.minutesAgo(Math.floor(seconds / 60))
    : text.hoursAgo(Math.floor(seconds / 3_600));
}
