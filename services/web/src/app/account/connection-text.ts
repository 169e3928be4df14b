/** Texts about the connection and the freshness of the shown account. */

import { asOfAge, isDelayed, type Channel, type OpenConnection } from '@livebalance/client';

import type { PageSession } from '../connection/gateway-client';
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

/** Returns the text of a session. `now` is in milliseconds on the session's clock. */
export function connectionText({ connection, channel, clockSkew }: PageSession, now: number): ConnectionText {
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
  if (isDelayed(age, connection.heartbeatMs)) return delayedText(age);
  return { state: 'live', text: wording.connection.live };
}

/** Returns the text of figures without a connection: complete as of `time`, `age` milliseconds ago. */
export function overviewText(time: string | null, age: number | null): ConnectionText {
  const text = wording.freshness;
  if (time === null || age === null) return { state: 'catching-up', text: text.unconfirmed };
  if (isDelayed(age, 0)) return delayedText(age);
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
