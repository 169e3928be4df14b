/** Texts about the connection and the freshness of the shown account. */

import { asOfAge, isDelayed, type Channel, type OpenConnection } from '@livebalance/client';

import type { PageSession } from '../connection/gateway-client';

export type ConnectionText = {
  /** Name for styles and tests. */
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
  switch (connection.kind) {
    case 'idle':
      return { state: 'idle', text: 'Not connected' };
    case 'connecting':
    case 'handshake':
      return { state: 'connecting', text: connection.attempt > 0 ? 'Reconnecting' : 'Connecting' };
    case 'waiting':
      return {
        state: 'reconnecting',
        text: countdown(connection.until - now),
        announcement: `Reconnecting: ${connection.reason}`,
        detail: connection.reason,
      };
    case 'ended':
      return { state: 'ended', text: `Disconnected: ${connection.reason}` };
    case 'open':
      return openText(connection, channel, clockSkew, now);
  }
}

function countdown(ms: number): string {
  const seconds = Math.ceil(ms / 1_000);
  return seconds > 1 ? `Reconnecting in ${seconds} s` : 'Reconnecting';
}

function openText(
  connection: OpenConnection,
  channel: Channel | null,
  clockSkew: number | null,
  now: number,
): ConnectionText {
  if (channel === null) return { state: 'idle', text: 'Connected' };
  if (channel.phase.kind === 'rejected') return rejectionText(channel.phase);
  const { status } = connection;
  if (status.state === 'stalled')
    return {
      state: 'stalled',
      text: status.reason === undefined ? 'Delayed' : `Delayed: ${status.reason}`,
    };
  if (channel.phase.kind !== 'subscribed' || status.state !== 'live')
    return { state: 'catching-up', text: 'Catching up' };
  const age = asOfAge(channel, clockSkew, now);
  if (age !== null && isDelayed(age, connection.heartbeatMs))
    return {
      state: 'stalled',
      text: `Delayed, last confirmed ${formatAge(age)}`,
      announcement: 'Delayed: the gateway has not confirmed the data recently',
    };
  return { state: 'live', text: 'Live' };
}

function rejectionText({ code, message }: { code: string; message: string }): ConnectionText {
  const texts: Readonly<Record<string, string>> = {
    gone: 'This account was erased',
    no_access: 'You have no access to this account',
    bad_account: 'This account id is invalid',
    revoked: 'Your access to this account was revoked',
  };
  return { state: 'rejected', text: texts[code] ?? message };
}

/** Formats an age as "just now", "12 s ago", "3 min ago" or "2 h ago". */
export function formatAge(ms: number): string {
  const seconds = Math.floor(ms / 1_000);
  if (seconds < 1) return 'just now';
  if (seconds < 120) return `${seconds} s ago`;
  return seconds < 7_200 ? `${Math.floor(seconds / 60)} min ago` : `${Math.floor(seconds / 3_600)} h ago`;
}
