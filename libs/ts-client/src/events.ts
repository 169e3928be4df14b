/** What happens to a client: events for its user, derived from the steps of the session, and counters of events. */

import type { Channel } from './connection/channel.js';
import type { Session, SessionEffect } from './connection/session-state.js';
import type { Delta, Snapshot } from './wire/frame.js';
import type { AccountId, Revision } from './wire/identity.js';

export type ClientEvent =
  /** A gateway has accepted the connection. */
  | {
      readonly kind: 'connected';
      readonly gateway: string;
      readonly session: string;
      readonly features: readonly string[];
    }
  /** The connection ended, or an attempt failed. `retryInMs` is null if the client does not reconnect by itself. */
  | { readonly kind: 'disconnected'; readonly reason: string; readonly retryInMs: number | null }
  /** The state of an account changed. `recovered`: the frame answers a subscribe, so that it can be old. */
  | {
      readonly kind: 'changed';
      readonly account: AccountId;
      readonly frame: Snapshot | Delta;
      readonly recovered: boolean;
    }
  /** The gateway continued from the client's revision `from`, and has replayed all revisions up to `to`. */
  | {
      readonly kind: 'resumed';
      readonly account: AccountId;
      readonly from: Revision;
      readonly to: Revision;
    }
  /** A frame did not follow the state: the client subscribes again from its position. */
  | { readonly kind: 'gap'; readonly account: AccountId }
  /** The state is complete again after this number of gaps. */
  | { readonly kind: 'repaired'; readonly account: AccountId; readonly gaps: number };

/** Numbers since the client was made. */
export type Counters = {
  readonly connections: number;
  /** Snapshots, by the reason that the gateway gave. */
  readonly snapshots: Readonly<Record<Snapshot['reason'], number>>;
  /** Subscriptions that continued from the client's position, without a snapshot. */
  readonly resumes: number;
  /** Revisions that were sent to continue. */
  readonly replayed: number;
  readonly gaps: number;
  readonly repaired: number;
  /** Deltas that arrived while the subscription was up to date, and their revisions. */
  readonly deltas: number;
  readonly revisions: number;
  /** Those deltas that contain more than one revision: the projector or the gateway has joined changes. */
  readonly conflated: number;
};

export const NO_COUNTERS: Counters = {
  connections: 0,
  snapshots: { subscribed: 0, too_far: 0, ahead: 0, epoch: 0 },
  resumes: 0,
  replayed: 0,
  gaps: 0,
  repaired: 0,
  deltas: 0,
  revisions: 0,
  conflated: 0,
};

/** Returns the events of a step at `now`, in their order. */
export function eventsOf(
  previous: Session,
  next: Session,
  effects: readonly SessionEffect[],
  now: number,
): ClientEvent[] {
  const applied = effects.filter((effect) => effect.kind === 'apply');
  const changes = applied.map(({ account, frame }): ClientEvent => {
    const recovered = previous.channels.get(account)?.phase.kind !== 'subscribed';
    return { kind: 'changed', account, frame, recovered };
  });
  const snapshots = new Set(
    applied.filter(({ frame }) => frame.type === 'snapshot').map(({ account }) => account),
  );
  const events = [...connectionEvents(previous, next, now), ...changes];
  for (const [account, channel] of next.channels) {
    const before = previous.channels.get(account);
    if (before !== undefined && before !== channel)
      events.push(...channelEvents(before, channel, snapshots.has(account)));
  }
  return events;
}

function connectionEvents(
  { connection: from }: Session,
  { connection: to }: Session,
  now: number,
): ClientEvent[] {
  if (to.kind === from.kind) return [];
  if (to.kind === 'open') {
    const { gateway, session, features } = to;
    return [{ kind: 'connected', gateway, session, features }];
  }
  if (to.kind === 'waiting') return [{ kind: 'disconnected', reason: to.reason, retryInMs: to.until - now }];
  if (to.kind === 'ended') return [{ kind: 'disconnected', reason: to.reason, retryInMs: null }];
  if (from.kind !== 'open') return [];
  return to.kind === 'idle'
    ? [{ kind: 'disconnected', reason: 'no account is followed', retryInMs: null }]
    : [{ kind: 'disconnected', reason: 'the gateway is restarting', retryInMs: 0 }];
}

function channelEvents(previous: Channel, channel: Channel, hasSnapshot: boolean): ClientEvent[] {
  const { account, position, phase } = channel;
  const events: ClientEvent[] = [];
  if (channel.gaps > previous.gaps) events.push({ kind: 'gap', account });
  const from = previous.phase.kind === 'subscribing' ? previous.phase.from : null;
  if (phase.kind === 'subscribed' && from !== null && position !== null && !hasSnapshot)
    events.push({ kind: 'resumed', account, from, to: position.revision });
  if (channel.repaired > previous.repaired)
    events.push({ kind: 'repaired', account, gaps: channel.repaired - previous.repaired });
  return events;
}

/** Returns the counters after an event. */
export function count(counters: Counters, event: ClientEvent): Counters {
  switch (event.kind) {
    case 'connected':
      return { ...counters, connections: counters.connections + 1 };
    case 'disconnected':
      return counters;
    case 'changed':
      return countFrame(counters, event.frame, event.recovered);
    case 'resumed':
      return {
        ...counters,
        resumes: counters.resumes + 1,
        replayed: counters.replayed + event.to - event.from,
      };
    case 'gap':
      return { ...counters, gaps: counters.gaps + 1 };
    case 'repaired':
      return { ...counters, repaired: counters.repaired + event.gaps };
  }
}

function countFrame(counters: Counters, frame: Snapshot | Delta, recovered: boolean): Counters {
  if (frame.type === 'snapshot') {
    const { snapshots } = counters;
    return { ...counters, snapshots: { ...snapshots, [frame.reason]: snapshots[frame.reason] + 1 } };
  }
  if (recovered) return counters;
  const revisions = frame.to - frame.from;
  return {
    ...counters,
    deltas: counters.deltas + 1,
    revisions: counters.revisions + revisions,
    conflated: counters.conflated + (revisions > 1 ? 1 : 0),
  };
}
