/** Types of the session's state machine: its states, events and effects. */

import { revokesAccess } from '../wire/close.js';
import type { ClientFrame, ServerFrame, Status } from '../wire/frame.js';
import type { AccountId, Position, SetName } from '../wire/identity.js';
import type { SetChannel, SetEffect } from '../sets/set-channel.js';
import { channelWakeAt, type Channel, type ChannelEffect, type Phase } from './channel.js';

export type OpenConnection = {
  readonly kind: 'open';
  readonly session: string;
  readonly gateway: string;
  readonly version: string;
  /** Names of what this gateway offers, such as `demo`. */
  readonly features: readonly string[];
  readonly heartbeatMs: number;
  readonly since: number;
  readonly attempt: number;
  /** The connection counts as lost at this time, unless a frame arrives. */
  readonly deadline: number;
  /** Time at which the client leaves this gateway, because the gateway shuts down; null if it does not. */
  readonly leaveAt: number | null;
  readonly status: Pick<Status, 'state' | 'reason'>;
};

export type Connection =
  | { readonly kind: 'idle' }
  | { readonly kind: 'connecting'; readonly attempt: number; readonly deadline: number }
  /** The WebSocket is open, and the gateway has not sent its welcome yet. */
  | { readonly kind: 'handshake'; readonly attempt: number; readonly deadline: number }
  | OpenConnection
  /** The client reconnects at `until`. */
  | { readonly kind: 'waiting'; readonly attempt: number; readonly until: number; readonly reason: string }
  /** The client does not reconnect until the user retries. */
  | { readonly kind: 'ended'; readonly code: number; readonly reason: string };

export type Session = {
  readonly connection: Connection;
  /** The followed accounts, in the order in which they were added. */
  readonly channels: ReadonlyMap<AccountId, Channel>;
  readonly sets: ReadonlyMap<SetName, SetChannel>;
  /** The gateway's clock minus the client's clock, in milliseconds; null before the first welcome. */
  readonly clockSkew: number | null;
  /** The page is not visible, so the gateway may send updates less often. */
  readonly hidden: boolean;
  /** The client asks for patches. */
  readonly patches: boolean;
};

export type SessionEvent =
  /** The user follows other accounts. A position belongs to a state that was kept; null: there is none. */
  | {
      readonly kind: 'follow';
      readonly added: ReadonlyMap<AccountId, Position | null>;
      readonly removed: readonly AccountId[];
    }
  /** The user follows exactly these sets. */
  | { readonly kind: 'followSets'; readonly names: ReadonlySet<SetName> }
  /** The WebSocket opened. `token` is null if a cookie holds the token. */
  | { readonly kind: 'opened'; readonly token: string | null }
  /** A new token was fetched. */
  | { readonly kind: 'renewed'; readonly token: string }
  /** A frame arrived. `frame` is null for a type that this client does not know. */
  | { readonly kind: 'received'; readonly frame: ServerFrame | null }
  /** A message arrived that violates the protocol. */
  | { readonly kind: 'invalid' }
  | { readonly kind: 'closed'; readonly code: number; readonly reason: string }
  | { readonly kind: 'tick' }
  /** The page is no longer visible. */
  | { readonly kind: 'hidden' }
  /** The page is visible again, or the network is back. */
  | { readonly kind: 'woke' }
  /** The user asked to reconnect now. */
  | { readonly kind: 'retry' };

export type SessionEffect =
  | Extract<ChannelEffect, { kind: 'apply' }>
  | Extract<SetEffect, { kind: 'applySet' }>
  | { readonly kind: 'send'; readonly frame: ClientFrame }
  | { readonly kind: 'connect' }
  /** Closes the WebSocket and ignores its later events. */
  | { readonly kind: 'close' }
  /** Fetches a new token, because the current token is about to expire. */
  | { readonly kind: 'renew' }
  | { readonly kind: 'reload' };

export type SessionStep = readonly [Session, ...SessionEffect[]];

export const NEW_SESSION: Session = {
  connection: { kind: 'idle' },
  channels: new Map(),
  sets: new Map(),
  clockSkew: null,
  hidden: false,
  patches: false,
};

/** Tells whether the user may no longer see an account or a set. */
export function isForbidden({ connection }: Session, channel: { phase: Phase } | undefined): boolean {
  return (
    channel?.phase.kind === 'rejected' || (connection.kind === 'ended' && revokesAccess(connection.code))
  );
}

/** Returns the time of the session's next tick, or null if it needs no tick. */
export function wakeAt({ connection, channels, sets }: Session): number | null {
  switch (connection.kind) {
    case 'idle':
    case 'ended':
      return null;
    case 'connecting':
    case 'handshake':
      return connection.deadline;
    case 'waiting':
      return connection.until;
    case 'open': {
      let earliest = Math.min(connection.deadline, connection.leaveAt ?? Infinity);
      for (const followed of [channels, sets])
        for (const channel of followed.values())
          earliest = Math.min(earliest, channelWakeAt(channel) ?? Infinity);
      return earliest;
    }
  }
}
