/**
 * One account followed over a socket: asks, checks the chain, resumes from its position.
 *
 * A delta applies only to a state at its `from`, in the same epoch. Whatever does not fit is never shown:
 * it is counted as a gap, and the channel asks again from its position; what is shown stays.
 */

import type { ClientFrame, Delta, Ok, Refusal, Snapshot, Unsubscribed } from '../wire/frame';
import { channelName, millis, type AccountId, type Instant, type Position } from '../wire/identity';
import { backoffMs } from './backoff';
import type { Moment } from './moment';

/** An answer that takes longer means that the connection is no good. */
const ANSWER_MS = 10_000;
/** A server that keeps sending what does not fit is asked at most this often. */
const ASK_EVERY_MS = 1_000;

export type Phase =
  /** No socket to ask on. */
  | { readonly kind: 'apart' }
  /** Waits for a snapshot, or for the first delta from its position, or for "you are up to date". */
  | { readonly kind: 'asked'; readonly id: string; readonly deadline: number }
  | { readonly kind: 'following' }
  /** Asks again at `until`. */
  | { readonly kind: 'deferred'; readonly until: number }
  /** Not for this reader, or erased: only choosing the account again asks again. */
  | { readonly kind: 'refused'; readonly code: string; readonly message: string };

export type Channel = {
  readonly account: AccountId;
  /** What is shown; null until the first snapshot. */
  readonly position: Position | null;
  /** Everything up to here is in what is shown; null when unknown. */
  readonly asOf: Instant | null;
  readonly askedAt: number | null;
  /** Frames that did not fit. */
  readonly gaps: number;
  readonly phase: Phase;
};

export type ChannelEvent =
  | { readonly kind: 'joined' }
  | { readonly kind: 'parted' }
  | { readonly kind: 'snapshot'; readonly frame: Snapshot }
  | { readonly kind: 'delta'; readonly frame: Delta }
  | { readonly kind: 'ok'; readonly frame: Ok }
  | { readonly kind: 'error'; readonly frame: Refusal }
  | { readonly kind: 'unsubscribed'; readonly frame: Unsubscribed }
  | { readonly kind: 'tick' };

export type ChannelEffect =
  | { readonly kind: 'send'; readonly frame: ClientFrame }
  /** The next state of what is shown; always fits the one before. */
  | { readonly kind: 'show'; readonly frame: Snapshot | Delta }
  | { readonly kind: 'hang up'; readonly why: string };

export type ChannelStep = readonly [Channel, ...ChannelEffect[]];

export function newChannel(account: AccountId): Channel {
  return { account, position: null, asOf: null, askedAt: null, gaps: 0, phase: { kind: 'apart' } };
}

type In<P extends Phase['kind']> = Channel & { readonly phase: Extract<Phase, { kind: P }> };
type Of<E extends ChannelEvent['kind']> = Extract<ChannelEvent, { kind: E }>;
type Table = {
  readonly [P in Phase['kind']]: {
    readonly [E in ChannelEvent['kind']]: (channel: In<P>, event: Of<E>, at: Moment) => ChannelStep;
  };
};

const stay = (channel: Channel): ChannelStep => [channel];
const part = (channel: Channel): ChannelStep => [{ ...channel, phase: { kind: 'apart' } }];

const table: Table = {
  apart: {
    joined: (channel, _, at) => ask(channel, at),
    parted: stay,
    snapshot: stay,
    delta: stay,
    ok: stay,
    error: stay,
    unsubscribed: stay,
    tick: stay,
  },
  asked: {
    joined: (channel, _, at) => ask(channel, at),
    parted: part,
    snapshot: takeSnapshot,
    delta: takePage,
    ok: answered,
    error: takeError,
    unsubscribed: refuse,
    tick: (channel, _, at) =>
      at.now < channel.phase.deadline ? [channel] : [channel, { kind: 'hang up', why: 'no answer' }],
  },
  following: {
    joined: (channel, _, at) => ask(channel, at),
    parted: part,
    snapshot: takeSnapshot,
    delta: takeDelta,
    ok: stay,
    error: takeError,
    unsubscribed: refuse,
    tick: stay,
  },
  deferred: {
    joined: (channel, _, at) => ask(channel, at),
    parted: part,
    snapshot: takeSnapshot,
    delta: takePage,
    ok: stay,
    error: stay,
    unsubscribed: refuse,
    tick: (channel, _, at) => (at.now < channel.phase.until ? [channel] : ask(channel, at)),
  },
  refused: {
    joined: stay,
    parted: stay,
    snapshot: stay,
    delta: stay,
    ok: stay,
    error: stay,
    unsubscribed: stay,
    tick: stay,
  },
};

export function stepChannel(channel: Channel, event: ChannelEvent, at: Moment): ChannelStep {
  // The table is checked cell by cell above; here phase and event are only known to belong together.
  const cell = table[channel.phase.kind][event.kind] as (
    c: Channel,
    e: ChannelEvent,
    at: Moment,
  ) => ChannelStep;
  return cell(channel, event, at);
}

/** When the channel wants its next tick, or null. */
export function channelWakeAt({ phase }: Channel): number | null {
  if (phase.kind === 'asked') return phase.deadline;
  return phase.kind === 'deferred' ? phase.until : null;
}

/** A heartbeat's word counts only once this socket has answered for this account. */
export function confirm(channel: Channel, asOf: Instant | null): Channel {
  if (channel.phase.kind !== 'following' || asOf === null) return channel;
  return { ...channel, asOf: later(channel.asOf, asOf) };
}

/** Completeness is never taken back inside an epoch: another gateway may only know it later. */
function later(known: Instant | null, told: Instant | null): Instant | null {
  if (known === null || told === null) return known ?? told;
  return millis(known) >= millis(told) ? known : told;
}

export type Fit = 'applies' | 'already known' | 'gap';

/** The rule of the chain. */
export function fits(position: Position, delta: Delta): Fit {
  if (delta.epoch !== position.epoch || delta.from >= delta.to) return 'gap';
  if (delta.to <= position.revision) return 'already known';
  return delta.from === position.revision && inOrder(delta) ? 'applies' : 'gap';
}

function inOrder({ from, to, transfers }: Delta): boolean {
  let last: number = from;
  return transfers.every(({ revision }) => {
    const next = revision > last && revision <= to;
    last = revision;
    return next;
  });
}

function ask(channel: Channel, at: Moment): ChannelStep {
  const id = `s${at.serial}`;
  const name = channelName(channel.account);
  const following =
    channel.position === null ? { channel: name } : { channel: name, position: channel.position };
  return [
    { ...channel, askedAt: at.now, phase: { kind: 'asked', id, deadline: at.now + ANSWER_MS } },
    { kind: 'send', frame: { type: 'subscribe', id, channels: [following] } },
  ];
}

function takeSnapshot(channel: Channel, { frame }: Of<'snapshot'>, at: Moment): ChannelStep {
  const { epoch, revision } = frame;
  const mine = channel.position;
  const stale = frame.reason === 'subscribed' && mine?.epoch === epoch && mine.revision > revision;
  if (stale) return gap(channel, at);
  const asOf = mine?.epoch === epoch ? later(channel.asOf, frame.as_of) : frame.as_of;
  const next: Channel = { ...channel, position: { epoch, revision }, asOf, phase: { kind: 'following' } };
  return [next, { kind: 'show', frame }];
}

/** A delta while following: what does not fit is a gap. */
function takeDelta(channel: Channel, { frame }: Of<'delta'>, at: Moment): ChannelStep {
  const fit = channel.position === null ? 'gap' : fits(channel.position, frame);
  if (fit === 'applies') return apply(channel, frame);
  return fit === 'gap' ? gap(channel, at) : [channel];
}

/** A delta while an answer is due: what does not fit was sent before the server read the question. */
function takePage(channel: Channel, { frame }: Of<'delta'>, at: Moment): ChannelStep {
  if (channel.position === null || fits(channel.position, frame) !== 'applies') return [channel];
  const phase: Phase =
    frame.more === true && channel.phase.kind === 'asked'
      ? { ...channel.phase, deadline: at.now + ANSWER_MS }
      : { kind: 'following' };
  return apply({ ...channel, phase }, frame);
}

function apply(channel: Channel, frame: Delta): ChannelStep {
  const position = { epoch: frame.epoch, revision: frame.to };
  return [
    { ...channel, position },
    { kind: 'show', frame },
  ];
}

/** With a position, "accepted" may be the whole answer: nothing was missed. Without one, a snapshot follows. */
function answered(channel: In<'asked'>, { frame }: Of<'ok'>): ChannelStep {
  const whole = frame.id === channel.phase.id && channel.position !== null;
  return whole ? [{ ...channel, phase: { kind: 'following' } }] : [channel];
}

function gap(channel: Channel, at: Moment): ChannelStep {
  const counted = { ...channel, gaps: channel.gaps + 1 };
  const until = (channel.askedAt ?? -Infinity) + ASK_EVERY_MS;
  return at.now >= until ? ask(counted, at) : [{ ...counted, phase: { kind: 'deferred', until } }];
}

function takeError(channel: Channel, { frame }: Of<'error'>, at: Moment): ChannelStep {
  const answer = channel.phase.kind === 'asked' && frame.id === channel.phase.id;
  if (!answer && frame.channel !== channelName(channel.account)) return [channel];
  if (!frame.temporary) return refuse(channel, { frame });
  const until = at.now + (frame.retry_after_ms ?? ASK_EVERY_MS) + backoffMs(0, at.chance);
  return [{ ...channel, phase: { kind: 'deferred', until } }];
}

/** What may no longer be seen is forgotten, the position with it. */
function refuse(channel: Channel, { frame }: { frame: Refusal | Unsubscribed }): ChannelStep {
  const { code, message } = frame;
  return [{ ...channel, position: null, asOf: null, phase: { kind: 'refused', code, message } }];
}
