/** What a connection can be in, what can happen to it, and what it can ask for. */

import { takesAway } from '../wire/close';
import type { ServerFrame, Status } from '../wire/frame';
import type { AccountId } from '../wire/identity';
import { channelWakeAt, type Channel, type ChannelEffect } from './channel';

export type Open = {
  readonly kind: 'open';
  readonly session: string;
  readonly gateway: string;
  readonly version: string;
  readonly heartbeatMs: number;
  readonly since: number;
  readonly attempt: number;
  /** Declared dead then, unless a frame arrives. */
  readonly deadline: number;
  /** The gateway goes away: leaves it then. */
  readonly leaveAt: number | null;
  readonly status: Pick<Status, 'state' | 'reason'>;
};

export type Link =
  | { readonly kind: 'idle' }
  | { readonly kind: 'connecting'; readonly attempt: number; readonly deadline: number }
  /** The socket is open, the gateway has not welcomed us yet. */
  | { readonly kind: 'greeting'; readonly attempt: number; readonly deadline: number }
  | Open
  | { readonly kind: 'waiting'; readonly attempt: number; readonly until: number; readonly why: string }
  | { readonly kind: 'ended'; readonly code: number; readonly why: string };

export type Machine = {
  readonly link: Link;
  readonly channel: Channel | null;
  /** The gateway's clock minus ours, in milliseconds; null until it told. */
  readonly skew: number | null;
  /** Nobody looks: data are wanted less often. */
  readonly hidden: boolean;
};

export type Event =
  /** Which account to show; null for none. */
  | { readonly kind: 'follow'; readonly account: AccountId | null }
  /** The socket is open; with the token to show, or null where a cookie does. */
  | { readonly kind: 'opened'; readonly token: string | null }
  /** Another token is there. */
  | { readonly kind: 'renewed'; readonly token: string }
  /** Any frame; null for a type not known here. */
  | { readonly kind: 'heard'; readonly frame: ServerFrame | null }
  /** What came was no frame of this protocol. */
  | { readonly kind: 'garbled' }
  | { readonly kind: 'closed'; readonly code: number; readonly reason: string }
  | { readonly kind: 'tick' }
  /** Nobody sees the page any more. */
  | { readonly kind: 'hid' }
  /** The page is visible again, or the network is back. */
  | { readonly kind: 'woke' }
  /** A person asked to try again now. */
  | { readonly kind: 'again' };

export type Effect =
  | Exclude<ChannelEffect, { kind: 'hang up' }>
  | { readonly kind: 'open' }
  /** Closes the socket and hears no more of it. */
  | { readonly kind: 'close' }
  /** Gets another token: this one is about to end. */
  | { readonly kind: 'renew' }
  | { readonly kind: 'reload' };

export type Step = readonly [Machine, ...Effect[]];

export const START: Machine = { link: { kind: 'idle' }, channel: null, skew: null, hidden: false };

/** Whether what was shown is not for this reader any more. */
export function isForbidden({ link, channel }: Machine): boolean {
  return channel?.phase.kind === 'refused' || (link.kind === 'ended' && takesAway(link.code));
}

/** When the machine wants its next tick, or null. */
export function wakeAt({ link, channel }: Machine): number | null {
  switch (link.kind) {
    case 'idle':
    case 'ended':
      return null;
    case 'connecting':
    case 'greeting':
      return link.deadline;
    case 'waiting':
      return link.until;
    case 'open':
      return Math.min(
        link.deadline,
        link.leaveAt ?? Infinity,
        channel === null ? Infinity : (channelWakeAt(channel) ?? Infinity),
      );
  }
}
