/**
 * The subscription to one account: subscribes, checks that deltas fit, and resumes from its position.
 *
 * A delta applies only to a state at its `from` in the same epoch. The client never applies a frame that does not
 * fit: the channel counts a gap and subscribes again from its position, and the state stays.
 */

import type {
  Delta,
  ErrorFrame,
  Ok,
  Patch,
  Snapshot,
  SubscribeRequest,
  Unsubscribed,
} from '../wire/frame.js';
import {
  channelName,
  millis,
  type AccountId,
  type Instant,
  type Position,
  type Revision,
} from '../wire/identity.js';
import { applyPatch } from '../wire/patch.js';
import { retryAt } from './backoff.js';
import type { StepContext } from './step-context.js';

/** Longest wait for the answer to a subscribe. After it, the client replaces the connection. */
const ANSWER_TIMEOUT_MS = 10_000;
/** Shortest time between two subscribes, so that a faulty gateway is not flooded. */
const SUBSCRIBE_INTERVAL_MS = 1_000;

export type Phase =
  /** There is no connection. */
  | { readonly kind: 'disconnected' }
  /** The channel waits for a snapshot, for the first delta from its position, or for `ok`. */
  | {
      readonly kind: 'subscribing';
      readonly id: string;
      readonly deadline: number;
      /** Revision that the subscribe named; null if it asked for a snapshot. */
      readonly from: Revision | null;
    }
  | { readonly kind: 'subscribed' }
  /** The channel subscribes again at `until`. */
  | { readonly kind: 'deferred'; readonly until: number }
  /** The gateway rejected or ended the subscription. The channel does not subscribe again. */
  | { readonly kind: 'rejected'; readonly code: string; readonly message: string };

export type Channel = {
  readonly account: AccountId;
  /** Position of the state; null until the first snapshot. */
  readonly position: Position | null;
  /** The state includes everything recorded up to this time; null if that time is unknown. */
  readonly asOf: Instant | null;
  readonly subscribedAt: number | null;
  /** Number of frames that did not fit. */
  readonly gaps: number;
  /** Number of those gaps after which the state is complete again. */
  readonly repaired: number;
  /** The last frame that arrived, if it was a delta. The next patch refers to it. */
  readonly received: Delta | null;
  readonly phase: Phase;
};

export type ChannelEvent =
  | { readonly kind: 'connected' }
  | { readonly kind: 'disconnected' }
  | { readonly kind: 'snapshot'; readonly frame: Snapshot }
  | { readonly kind: 'delta'; readonly frame: Delta }
  | { readonly kind: 'patch'; readonly frame: Patch }
  | { readonly kind: 'ok'; readonly frame: Ok }
  | { readonly kind: 'error'; readonly frame: ErrorFrame }
  | { readonly kind: 'unsubscribed'; readonly frame: Unsubscribed }
  | { readonly kind: 'tick' };

/** `requestId` is the id of the subscribe frame that carries the requests of this step. */
export type ChannelContext = Pick<StepContext, 'now' | 'jitter'> & { readonly requestId: string };

export type ChannelEffect =
  | { readonly kind: 'subscribe'; readonly request: SubscribeRequest }
  /** Applies a frame to the account's state. The frame always fits that state. */
  | { readonly kind: 'apply'; readonly account: AccountId; readonly frame: Snapshot | Delta }
  | { readonly kind: 'reconnect'; readonly reason: string };

export type ChannelStep = readonly [Channel, ...ChannelEffect[]];

/** Returns a channel that begins at `position`, or with a snapshot if it is null. */
export function newChannel(account: AccountId, position: Position | null = null): Channel {
  return {
    account,
    position,
    asOf: null,
    subscribedAt: null,
    gaps: 0,
    repaired: 0,
    received: null,
    phase: { kind: 'disconnected' },
  };
}

type InPhase<P extends Phase['kind']> = Channel & { readonly phase: Extract<Phase, { kind: P }> };
type EventOf<E extends ChannelEvent['kind']> = Extract<ChannelEvent, { kind: E }>;
type Table = {
  readonly [P in Phase['kind']]: {
    readonly [E in Exclude<ChannelEvent['kind'], 'patch'>]: (
      channel: InPhase<P>,
      event: EventOf<E>,
      context: ChannelContext,
    ) => ChannelStep;
  };
};

const ignore = (channel: Channel): ChannelStep => [channel];
const disconnect = (channel: Channel): ChannelStep => [{ ...channel, phase: { kind: 'disconnected' } }];

const table: Table = {
  disconnected: {
    connected: (channel, _, context) => subscribe(channel, context),
    disconnected: ignore,
    snapshot: ignore,
    delta: ignore,
    ok: ignore,
    error: ignore,
    unsubscribed: ignore,
    tick: ignore,
  },
  subscribing: {
    connected: (channel, _, context) => subscribe(channel, context),
    disconnected: disconnect,
    snapshot: receiveSnapshot,
    delta: receiveMissedDelta,
    ok: receiveOk,
    error: receiveError,
    unsubscribed: reject,
    tick: (channel, _, { now }) =>
      now < channel.phase.deadline
        ? [channel]
        : [channel, { kind: 'reconnect', reason: 'the gateway did not answer' }],
  },
  subscribed: {
    connected: (channel, _, context) => subscribe(channel, context),
    disconnected: disconnect,
    snapshot: receiveSnapshot,
    delta: receiveDelta,
    ok: ignore,
    error: receiveError,
    unsubscribed: reject,
    tick: ignore,
  },
  deferred: {
    connected: (channel, _, context) => subscribe(channel, context),
    disconnected: disconnect,
    snapshot: receiveSnapshot,
    delta: receiveMissedDelta,
    ok: ignore,
    error: ignore,
    unsubscribed: reject,
    tick: (channel, _, context) =>
      context.now < channel.phase.until ? [channel] : subscribe(channel, context),
  },
  rejected: {
    connected: ignore,
    disconnected: ignore,
    snapshot: ignore,
    delta: ignore,
    ok: ignore,
    error: ignore,
    unsubscribed: ignore,
    tick: ignore,
  },
};

export function stepChannel(channel: Channel, event: ChannelEvent, context: ChannelContext): ChannelStep {
  if (event.kind === 'snapshot') return stepTable({ ...channel, received: null }, event, context);
  if (event.kind === 'delta') return stepTable({ ...channel, received: event.frame }, event, context);
  if (event.kind !== 'patch') return stepTable(channel, event, context);
  const frame = applyPatch(channel.received, event.frame);
  if (frame !== null) return stepTable({ ...channel, received: frame }, { kind: 'delta', frame }, context);
  return channel.phase.kind === 'subscribed' ? recoverFromGap(channel, context) : [channel];
}

function stepTable(
  channel: Channel,
  event: Exclude<ChannelEvent, { kind: 'patch' }>,
  context: ChannelContext,
): ChannelStep {
  // The type of `table` has checked each cell. TypeScript cannot relate the phase to the event here.
  const cell = table[channel.phase.kind][event.kind] as (
    channel: Channel,
    event: ChannelEvent,
    context: ChannelContext,
  ) => ChannelStep;
  return cell(channel, event, context);
}

/** Returns the time of the channel's next tick, or null if it needs no tick. */
export function channelWakeAt({ phase }: Pick<Channel, 'phase'>): number | null {
  if (phase.kind === 'subscribing') return phase.deadline;
  return phase.kind === 'deferred' ? phase.until : null;
}

/** Applies the `as_of` of a heartbeat, if this connection has already answered the subscribe. */
export function confirmAsOf<C extends Pick<Channel, 'asOf' | 'phase'>>(channel: C, asOf: Instant | null): C {
  if (channel.phase.kind !== 'subscribed' || asOf === null) return channel;
  return { ...channel, asOf: laterOf(channel.asOf, asOf) };
}

/** Returns the later time: within an epoch `asOf` never decreases, even if another gateway lags behind. */
function laterOf(current: Instant | null, received: Instant | null): Instant | null {
  if (current === null || received === null) return current ?? received;
  return millis(current) >= millis(received) ? current : received;
}

export type Fit = 'applies' | 'already known' | 'gap';

/** Tells whether a delta applies to the state at `position`. See `docs/guarantees.md#the-guarantees`, G3. */
export function fits(position: Position, delta: Delta): Fit {
  if (delta.epoch !== position.epoch || delta.from >= delta.to) return 'gap';
  if (delta.to <= position.revision) return 'already known';
  return delta.from === position.revision && inOrder(delta) ? 'applies' : 'gap';
}

function inOrder({ from, to, transfers }: Delta): boolean {
  let last: number = from;
  return transfers.every(({ revision }) => {
    const follows = revision > last && revision <= to;
    last = revision;
    return follows;
  });
}

function subscribe(channel: Channel, { now, requestId: id }: ChannelContext): ChannelStep {
  const name = channelName(channel.account);
  const request =
    channel.position === null ? { channel: name } : { channel: name, position: channel.position };
  return [
    {
      ...channel,
      subscribedAt: now,
      phase: {
        kind: 'subscribing',
        id,
        deadline: now + ANSWER_TIMEOUT_MS,
        from: channel.position?.revision ?? null,
      },
    },
    { kind: 'subscribe', request },
  ];
}

function receiveSnapshot(
  channel: Channel,
  { frame }: EventOf<'snapshot'>,
  context: ChannelContext,
): ChannelStep {
  const { epoch, revision } = frame;
  const current = channel.position;
  const stale = frame.reason === 'subscribed' && current?.epoch === epoch && current.revision > revision;
  if (stale) return recoverFromGap(channel, context);
  const asOf = current?.epoch === epoch ? laterOf(channel.asOf, frame.as_of) : frame.as_of;
  const next = subscribed({ ...channel, position: { epoch, revision }, asOf });
  return [next, { kind: 'apply', account: channel.account, frame }];
}

/** Handles a delta while subscribed. A delta that does not fit is a gap. */
function receiveDelta(channel: Channel, { frame }: EventOf<'delta'>, context: ChannelContext): ChannelStep {
  const fit = channel.position === null ? 'gap' : fits(channel.position, frame);
  if (fit === 'applies') return apply(channel, frame);
  return fit === 'gap' ? recoverFromGap(channel, context) : [channel];
}

/** Handles a delta before the answer to a subscribe. A delta that does not fit was sent earlier. */
function receiveMissedDelta(
  channel: Channel,
  { frame }: EventOf<'delta'>,
  { now }: ChannelContext,
): ChannelStep {
  if (channel.position === null || fits(channel.position, frame) !== 'applies') return [channel];
  if (frame.more !== true || channel.phase.kind !== 'subscribing') return apply(subscribed(channel), frame);
  return apply({ ...channel, phase: { ...channel.phase, deadline: now + ANSWER_TIMEOUT_MS } }, frame);
}

function apply(channel: Channel, frame: Delta): ChannelStep {
  const position = { epoch: frame.epoch, revision: frame.to };
  return [
    { ...channel, position },
    { kind: 'apply', account: channel.account, frame },
  ];
}

/** Handles `ok`. It is the whole answer if the subscribe had a position and nothing was missed. */
function receiveOk(channel: InPhase<'subscribing'>, { frame }: EventOf<'ok'>): ChannelStep {
  const complete = frame.id === channel.phase.id && channel.position !== null;
  return complete ? [subscribed(channel)] : [channel];
}

/** The answer to the subscribe is complete, and with it every gap. */
function subscribed(channel: Channel): Channel {
  return { ...channel, repaired: channel.gaps, phase: { kind: 'subscribed' } };
}

function recoverFromGap(channel: Channel, context: ChannelContext): ChannelStep {
  const counted = { ...channel, gaps: channel.gaps + 1 };
  const until = (channel.subscribedAt ?? -Infinity) + SUBSCRIBE_INTERVAL_MS;
  return context.now >= until
    ? subscribe(counted, context)
    : [{ ...counted, phase: { kind: 'deferred', until } }];
}

function receiveError(channel: Channel, { frame }: EventOf<'error'>, context: ChannelContext): ChannelStep {
  const answersSubscribe = channel.phase.kind === 'subscribing' && frame.id === channel.phase.id;
  if (!answersSubscribe && frame.channel !== channelName(channel.account)) return [channel];
  if (!frame.temporary) return reject(channel, { frame });
  return [{ ...channel, phase: { kind: 'deferred', until: retryAt(frame, context) } }];
}

/** Ends the subscription and discards its position, because the user may not see the account any more. */
function reject(channel: Channel, { frame }: { frame: ErrorFrame | Unsubscribed }): ChannelStep {
  const { code, message } = frame;
  return [{ ...channel, position: null, asOf: null, phase: { kind: 'rejected', code, message } }];
}
