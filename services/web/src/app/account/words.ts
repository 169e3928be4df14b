/** The state of the connection in words: one short name for machines and styles, one text for people. */

import type { Machine, Open } from '../connection/state';
import type { Channel } from '../connection/channel';
import { millis } from '../wire/identity';

export type Words = {
  readonly state:
    'idle' | 'connecting' | 'live' | 'catching-up' | 'stalled' | 'reconnecting' | 'refused' | 'ended';
  readonly text: string;
  /** Why, where there is more to say. */
  readonly detail?: string;
};

/** Silence about completeness for longer than a few heartbeats and audits is told as a stall. */
const SILENT_HEARTBEATS = 2.5;
const SILENT_MS = 15_000;

/** `now` is of the machine's clock, in ms. */
export function words({ link, channel, skew }: Machine, now: number): Words {
  switch (link.kind) {
    case 'idle':
      return { state: 'idle', text: 'not connected' };
    case 'connecting':
    case 'greeting':
      return { state: 'connecting', text: link.attempt > 0 ? 'connecting again' : 'connecting' };
    case 'waiting':
      return { state: 'reconnecting', text: inSeconds(link.until - now), detail: link.why };
    case 'ended':
      return { state: 'ended', text: `closed: ${link.why}` };
    case 'open':
      return ofChannel(link, channel, skew, now);
  }
}

function inSeconds(ms: number): string {
  const seconds = Math.ceil(ms / 1_000);
  return seconds > 1 ? `reconnecting in ${seconds} s` : 'reconnecting';
}

function ofChannel(link: Open, channel: Channel | null, skew: number | null, now: number): Words {
  if (channel === null) return { state: 'idle', text: 'connected' };
  if (channel.phase.kind === 'refused') return refusal(channel.phase);
  if (link.status.state === 'stalled') return { state: 'stalled', text: stalled(link.status.reason) };
  const age = ageMs(channel, skew, now);
  if (channel.phase.kind === 'following' && link.status.state === 'live') {
    if (age !== null && age > Math.max(SILENT_HEARTBEATS * link.heartbeatMs, SILENT_MS)) {
      return { state: 'stalled', text: stalled('nothing was confirmed for a while') };
    }
    return { state: 'live', text: 'live' };
  }
  return { state: 'catching-up', text: 'catching up' };
}

function stalled(reason: string | undefined): string {
  return reason === undefined ? 'stalled' : `stalled: ${reason}`;
}

function refusal({ code, message }: { code: string; message: string }): Words {
  const texts: Readonly<Record<string, string>> = {
    gone: 'this account was erased',
    no_access: 'no access to this account',
    bad_account: 'this is no account id',
    revoked: 'access to this account was revoked',
  };
  return { state: 'refused', text: texts[code] ?? message };
}

/** How long ago "complete as of" was, by the gateway's clock; null when unknown. */
export function ageMs(channel: Channel, skew: number | null, now: number): number | null {
  if (channel.asOf === null || skew === null) return null;
  return Math.max(0, now + skew - millis(channel.asOf));
}

/** "just now", "12 s ago", "3 min ago", "2 h ago". */
export function ago(ms: number): string {
  const seconds = Math.floor(ms / 1_000);
  if (seconds < 1) return 'just now';
  if (seconds < 120) return `${seconds} s ago`;
  return seconds < 7_200 ? `${Math.floor(seconds / 60)} min ago` : `${Math.floor(seconds / 3_600)} h ago`;
}
