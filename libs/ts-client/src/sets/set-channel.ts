/**
 * The subscription to a set of accounts: subscribes, checks that deltas fit, and subscribes again if they do not.
 *
 * A set has no history. Each subscription begins with a snapshot, and its frames are numbered from there: until
 * the snapshot arrives, frames belong to an earlier subscription and are ignored.
 */

import type { Phase } from '../connection/channel.js';
import { retryAt } from '../connection/backoff.js';
import type { StepContext } from '../connection/step-context.js';
import type { ErrorFrame, SetDelta, SetSnapshot, Unsubscribed } from '../wire/frame.js';
import type { Epoch, Instant, SetName } from '../wire/identity.js';

/** Longest wait for the answer to a subscribe, and for its next page. After it, the client reconnects. */
const ANSWER_TIMEOUT_MS = 10_000;
/** Shortest time between two subscribes, so that a faulty gateway is not flooded. */
const SUBSCRIBE_INTERVAL_MS = 1_000;

export type SetChannel = {
  readonly name: SetName;
  /** Number of the newest change that arrived in this subscription; null until its snapshot. */
  readonly number: number | null;
  readonly epoch: Epoch | null;
  /** The state includes everything recorded up to this time; null if that time is unknown. */
  readonly asOf: Instant | null;
  readonly subscribedAt: number | null;
  readonly phase: Phase;
};

export type SetEvent =
  | { readonly kind: 'connected' | 'disconnected' | 'tick' }
  | { readonly kind: 'frame'; readonly frame: SetSnapshot | SetDelta | ErrorFrame | Unsubscribed };

export type SetContext = Pick<StepContext, 'now' | 'jitter'> & { readonly requestId: string };

export type SetEffect =
  | { readonly kind: 'subscribe' }
  /** Applies a frame to the state of the set. The frame always fits that state. */
  | { readonly kind: 'applySet'; readonly name: SetName; readonly frame: SetSnapshot | SetDelta }
  | { readonly kind: 'reconnect'; readonly reason: string };

export type SetStep = readonly [SetChannel, ...SetEffect[]];

export function newSetChannel(name: SetName): SetChannel {
  return {
    name,
    number: null,
    epoch: null,
    asOf: null,
    subscribedAt: null,
    phase: { kind: 'disconnected' },
  };
}

export function stepSet(set: SetChannel, event: SetEvent, context: SetContext): SetStep {
  if (set.phase.kind === 'rejected') return [set];
  switch (event.kind) {
    case 'connected':
      return subscribe(set, context);
    case 'disconnected':
      return [{ ...set, number: null, phase: { kind: 'disconnected' } }];
    case 'tick':
      return tick(set, context);
    case 'frame':
      return set.phase.kind === 'disconnected' ? [set] : receive(set, event.frame, context);
  }
}

/** Waits longer for the answer to a subscribe, because the gateway sends another set before it. */
export function waitLonger(set: SetChannel, { now }: Pick<StepContext, 'now'>): SetChannel {
  if (set.phase.kind !== 'subscribing') return set;
  return { ...set, phase: { ...set.phase, deadline: now + ANSWER_TIMEOUT_MS } };
}

function subscribe(set: SetChannel, { now, requestId: id }: SetContext): SetStep {
  const phase: Phase = { kind: 'subscribing', id, deadline: now + ANSWER_TIMEOUT_MS, from: null };
  return [{ ...set, number: null, subscribedAt: now, phase }, { kind: 'subscribe' }];
}

function tick(set: SetChannel, context: SetContext): SetStep {
  const { phase } = set;
  if (phase.kind === 'deferred' && context.now >= phase.until) return subscribe(set, context);
  if (phase.kind === 'subscribing' && context.now >= phase.deadline)
    return [set, { kind: 'reconnect', reason: 'the gateway did not answer' }];
  return [set];
}

function receive(
  set: SetChannel,
  frame: SetSnapshot | SetDelta | ErrorFrame | Unsubscribed,
  context: SetContext,
): SetStep {
  switch (frame.type) {
    case 'set_snapshot':
      return apply(set, frame, context);
    case 'set_delta':
      if (set.number === null) return [set];
      return frame.from === set.number ? apply(set, frame, context) : recoverFromGap(set, context);
    case 'error':
      return receiveError(set, frame, context);
    case 'unsubscribed':
      return reject(set, frame);
  }
}

function apply(set: SetChannel, frame: SetSnapshot | SetDelta, { now }: SetContext): SetStep {
  const isAnswering = frame.type === 'set_snapshot' || set.phase.kind === 'subscribing';
  const phase: Phase =
    isAnswering && frame.more === true
      ? { kind: 'subscribing', id: '', deadline: now + ANSWER_TIMEOUT_MS, from: null }
      : { kind: 'subscribed' };
  return [
    {
      ...set,
      number: frame.to,
      epoch: frame.epoch,
      asOf: frame.epoch === set.epoch ? set.asOf : null,
      phase,
    },
    { kind: 'applySet', name: set.name, frame },
  ];
}

function recoverFromGap(set: SetChannel, context: SetContext): SetStep {
  const until = (set.subscribedAt ?? -Infinity) + SUBSCRIBE_INTERVAL_MS;
  return context.now >= until
    ? subscribe(set, context)
    : [{ ...set, number: null, phase: { kind: 'deferred', until } }];
}

function receiveError(set: SetChannel, frame: ErrorFrame, context: SetContext): SetStep {
  const answersSubscribe = set.phase.kind === 'subscribing' && frame.id === set.phase.id;
  if (!answersSubscribe && frame.channel !== set.name) return [set];
  if (!frame.temporary) return reject(set, frame);
  return [{ ...set, number: null, phase: { kind: 'deferred', until: retryAt(frame, context) } }];
}

/** Ends the subscription, because the user may not see the set (any more). */
function reject(set: SetChannel, { code, message }: ErrorFrame | Unsubscribed): SetStep {
  return [{ ...set, number: null, asOf: null, phase: { kind: 'rejected', code, message } }];
}
