/** The steps of a session's subscriptions: an event goes to channels, whose requests share frames. */

import { stepSet, type SetChannel, type SetEvent } from '../sets/set-channel.js';
import type { SubscribeRequest } from '../wire/frame.js';
import { channelAccount } from '../wire/identity.js';
import { backoffMs } from './backoff.js';
import { stepChannel, type Channel, type ChannelEvent } from './channel.js';
import type { Connection, Session, SessionEffect, SessionStep } from './session-state.js';
import type { StepContext } from './step-context.js';

/** Connection age after which the next failure starts the backoff again. */
const STABLE_AFTER_MS = 5_000;
/** Number of accounts that a subscribe or unsubscribe names. With the longest ids the frame stays below 16 KiB. */
const ACCOUNTS_PER_FRAME = 100;

export function chunks<T>(items: readonly T[]): T[][] {
  const count = Math.ceil(items.length / ACCOUNTS_PER_FRAME);
  return Array.from({ length: count }, (_, chunk) =>
    items.slice(chunk * ACCOUNTS_PER_FRAME, (chunk + 1) * ACCOUNTS_PER_FRAME),
  );
}

/** Returns the id of the frame that carries the n-th chunk of a step's requests. */
export function requestId(kind: 's' | 'u', chunk: number, { serial }: StepContext): string {
  return chunk === 0 ? `${kind}${serial}` : `${kind}${serial}-${chunk}`;
}

/** Dispatches a frame that names its channel. Late frames of an account that the user left are ignored. */
export function dispatchToChannel(
  session: Session,
  event: Extract<ChannelEvent, { frame: { channel: string } }>,
  context: StepContext,
): SessionStep {
  const account = channelAccount(event.frame.channel);
  const channel = account === null ? undefined : session.channels.get(account);
  return channel === undefined ? [session] : dispatch(session, event, context, [channel]);
}

/** Dispatches an event to some channels, or to all. Their requests share as few frames as possible. */
export function dispatch(
  session: Session,
  event: ChannelEvent,
  context: StepContext,
  recipients: Iterable<Channel> = session.channels.values(),
): SessionStep {
  const channels = new Map(session.channels);
  const requests: SubscribeRequest[] = [];
  const applied: SessionEffect[] = [];
  for (const channel of recipients) {
    const id = requestId('s', Math.floor(requests.length / ACCOUNTS_PER_FRAME), context);
    const [next, ...effects] = stepChannel(channel, event, { ...context, requestId: id });
    channels.set(channel.account, next);
    for (const effect of effects) {
      if (effect.kind === 'reconnect') return reconnect({ ...session, channels }, effect.reason, context);
      if (effect.kind === 'apply') applied.push(effect);
      else requests.push(effect.request);
    }
  }
  const features = session.patches ? { features: ['patches'] as const } : {};
  const subscribes = chunks(requests).map((channels, chunk): SessionEffect => ({
    kind: 'send',
    frame: { type: 'subscribe', id: requestId('s', chunk, context), channels, ...features },
  }));
  return [{ ...session, channels }, ...applied, ...subscribes];
}

/** Dispatches an event to all sets that `isFor` selects. Their requests share a frame. */
export function dispatchToSets(
  session: Session,
  event: SetEvent,
  context: StepContext,
  isFor: (set: SetChannel) => boolean = () => true,
): SessionStep {
  const sets = new Map(session.sets);
  const channels: SubscribeRequest[] = [];
  const applied: SessionEffect[] = [];
  const id = `g${context.serial}`;
  for (const [name, set] of session.sets) {
    if (!isFor(set)) continue;
    const [next, ...effects] = stepSet(set, event, { ...context, requestId: id });
    sets.set(name, next);
    for (const effect of effects) {
      if (effect.kind === 'reconnect') return reconnect({ ...session, sets }, effect.reason, context);
      if (effect.kind === 'subscribe') channels.push({ channel: name });
      else applied.push(effect);
    }
  }
  if (channels.length > 0) applied.push({ kind: 'send', frame: { type: 'subscribe', id, channels } });
  return [{ ...session, sets }, ...applied];
}

/** Dispatches an event to all accounts and all sets. */
export function dispatchToAll(
  session: Session,
  kind: 'connected' | 'disconnected' | 'tick',
  context: StepContext,
): SessionStep {
  const [next, ...effects] = dispatch(session, { kind }, context);
  if (next.connection.kind !== session.connection.kind) return [next, ...effects]; // it reconnects
  const [last, ...more] = dispatchToSets(next, { kind }, context);
  return last.connection.kind === next.connection.kind ? [last, ...effects, ...more] : [last, ...more];
}

export function disconnectChannels(session: Session, context: StepContext): Session {
  return dispatchToAll(session, 'disconnected', context)[0];
}

export function reconnect(session: Session, reason: string, context: StepContext): SessionStep {
  const attempt = failedAttempts(session.connection, context);
  const until = context.now + backoffMs(attempt, context.jitter);
  return [
    {
      ...disconnectChannels(session, context),
      connection: { kind: 'waiting', attempt: attempt + 1, until, reason },
    },
    { kind: 'close' },
  ];
}

/** Returns the number of consecutive failures before the current failure. */
export function failedAttempts(connection: Connection, { now }: StepContext): number {
  if (connection.kind === 'open') return now - connection.since >= STABLE_AFTER_MS ? 0 : connection.attempt;
  return 'attempt' in connection ? connection.attempt : 0;
}
