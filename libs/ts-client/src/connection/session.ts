/**
 * The session with a gateway as a pure state machine: (session, event, context) → session and effects.
 *
 * `table` is total: a state or event without a cell does not compile. Time, randomness and ids come from the
 * context. WebSockets, timers and reloads are effects, which `client.ts` performs. One connection serves all
 * followed accounts.
 */

import { closeAction, closeText } from '../wire/close.js';
import { newSetChannel, waitLonger, type SetChannel } from '../sets/set-channel.js';
import type { Heartbeat, ServerFrame, SetDelta, SetSnapshot, Unsubscribed, Welcome } from '../wire/frame.js';
import { channelName, millis } from '../wire/identity.js';
import { GOODBYE, backoffMs, reconnectDelayMs } from './backoff.js';
import { confirmAsOf, newChannel, type Channel } from './channel.js';
import type {
  Connection,
  OpenConnection,
  Session,
  SessionEffect,
  SessionEvent,
  SessionStep,
} from './session-state.js';
import type { StepContext } from './step-context.js';
import {
  chunks,
  disconnectChannels,
  dispatch,
  dispatchToAll,
  dispatchToChannel,
  dispatchToSets,
  failedAttempts,
  reconnect,
  requestId,
} from './subscriptions.js';

/** Longest time from opening a WebSocket to the gateway's welcome. */
const WELCOME_TIMEOUT_MS = 10_000;
/** Number of heartbeat intervals without a frame after which the connection counts as lost. */
const LOST_AFTER_HEARTBEATS = 2.5;
/** Longest wait for a frame after the page woke, because a connection can die unnoticed during sleep. */
const PING_TIMEOUT_MS = 5_000;
/** Connections that were lost with the network count for their user until the gateway notices it. */
const LOST_CONNECTIONS_MS = 30_000;
const TOO_MANY_CONNECTIONS = 4505;
/** Update rate of a hidden page. */
const HIDDEN_PER_SECOND = 1;

type InState<C extends Connection['kind']> = Session & {
  readonly connection: Extract<Connection, { kind: C }>;
};
type EventOf<E extends SessionEvent['kind']> = Extract<SessionEvent, { kind: E }>;
type Table = {
  readonly [C in Connection['kind']]: {
    readonly [E in SessionEvent['kind']]: (
      session: InState<C>,
      event: EventOf<E>,
      context: StepContext,
    ) => SessionStep;
  };
};

const ignore = (session: Session): SessionStep => [session];
const hide = (session: Session): SessionStep => [{ ...session, hidden: true }];
const unhide = (session: Session): SessionStep => [{ ...session, hidden: false }];
const connectNow = (session: Session, _: SessionEvent, context: StepContext): SessionStep =>
  connect(session, 0, context);
const connectSooner = (session: InState<'waiting'>, _: SessionEvent, context: StepContext): SessionStep => {
  const until = Math.min(session.connection.until, context.now + backoffMs(0, context.jitter));
  return [{ ...session, connection: { ...session.connection, until }, hidden: false }];
};

const table: Table = {
  idle: {
    follow: connectForAccounts,
    followSets: connectForSets,
    opened: ignore,
    renewed: ignore,
    received: ignore,
    invalid: ignore,
    closed: ignore,
    tick: ignore,
    hidden: hide,
    woke: unhide,
    retry: ignore,
  },
  connecting: {
    follow: followLater,
    followSets: followSetsLater,
    opened: authenticate,
    renewed: ignore,
    received: ignore,
    invalid: ignore,
    closed: handleClose,
    tick: checkDeadline,
    hidden: hide,
    woke: unhide,
    retry: ignore,
  },
  handshake: {
    follow: followLater,
    followSets: followSetsLater,
    opened: ignore,
    renewed: ignore,
    received: (session, { frame }, context) =>
      frame?.type === 'welcome' ? receiveWelcome(session, frame, context) : [session],
    invalid: rejectInvalid,
    closed: handleClose,
    tick: checkDeadline,
    hidden: hide,
    woke: unhide,
    retry: ignore,
  },
  open: {
    follow: followNow,
    followSets: followSetsNow,
    opened: ignore,
    renewed: refreshToken,
    received: receive,
    invalid: rejectInvalid,
    closed: handleClose,
    tick: checkConnection,
    hidden: slowDown,
    woke: verifyConnection,
    retry: verifyConnection,
  },
  waiting: {
    follow: followLater,
    followSets: followSetsLater,
    opened: ignore,
    renewed: ignore,
    received: ignore,
    invalid: ignore,
    closed: ignore,
    tick: (session, _, context) =>
      context.now < session.connection.until
        ? [session]
        : connect(session, session.connection.attempt, context),
    hidden: hide,
    woke: connectSooner,
    retry: connectSooner,
  },
  ended: {
    follow: connectForAccounts,
    followSets: connectForSets,
    opened: ignore,
    renewed: ignore,
    received: ignore,
    invalid: ignore,
    closed: ignore,
    tick: ignore,
    hidden: hide,
    woke: unhide,
    retry: connectNow,
  },
};

export function step(session: Session, event: SessionEvent, context: StepContext): SessionStep {
  // The type of `table` has checked each cell. TypeScript cannot relate the state to the event here.
  const cell = table[session.connection.kind][event.kind] as (
    session: Session,
    event: SessionEvent,
    context: StepContext,
  ) => SessionStep;
  return cell(session, event, context);
}

function connect(session: Session, attempt: number, { now }: StepContext): SessionStep {
  return [
    { ...session, connection: { kind: 'connecting', attempt, deadline: now + WELCOME_TIMEOUT_MS } },
    { kind: 'connect' },
  ];
}

function authenticate(session: InState<'connecting'>, { token }: EventOf<'opened'>): SessionStep {
  const next: Session = { ...session, connection: { ...session.connection, kind: 'handshake' } };
  return token === null ? [next] : [next, { kind: 'send', frame: { type: 'auth', token } }];
}

function refreshToken(
  session: InState<'open'>,
  { token }: EventOf<'renewed'>,
  { serial }: StepContext,
): SessionStep {
  return [session, { kind: 'send', frame: { type: 'refresh', id: `a${serial}`, token } }];
}

function withAccounts(session: Session, { added, removed }: EventOf<'follow'>): Session {
  const channels = new Map(session.channels);
  for (const account of removed) channels.delete(account);
  for (const [account, position] of added)
    if (!channels.has(account)) channels.set(account, newChannel(account, position));
  return { ...session, channels };
}

/** Connects when the first account is followed. */
function connectForAccounts(session: Session, event: EventOf<'follow'>, context: StepContext): SessionStep {
  const next = withAccounts(session, event);
  return event.added.size === 0 ? [next] : connect(next, 0, context);
}

/** Changes the accounts without an open connection. The session subscribes after the welcome. */
function followLater(session: Session, event: EventOf<'follow'>): SessionStep {
  return stayIfNeeded(withAccounts(session, event));
}

/** Closes the connection if nothing is followed any more. */
function stayIfNeeded(session: Session): SessionStep {
  const isNeeded = session.channels.size > 0 || session.sets.size > 0;
  return isNeeded ? [session] : [{ ...session, connection: { kind: 'idle' } }, { kind: 'close' }];
}

/** Changes the accounts on an open connection. */
function followNow(session: InState<'open'>, event: EventOf<'follow'>, context: StepContext): SessionStep {
  const followed = withAccounts(session, event);
  if (followed.channels.size === 0 && followed.sets.size === 0) return stayIfNeeded(followed);
  const left = event.removed.filter((account) => session.channels.has(account)).map(channelName);
  const unsubscribes = chunks(left).map((channels, chunk): SessionEffect => ({
    kind: 'send',
    frame: { type: 'unsubscribe', id: requestId('u', chunk, context), channels },
  }));
  const isAdded = ({ account, phase }: Channel) => event.added.has(account) && phase.kind === 'disconnected';
  const added = [...followed.channels.values()].filter(isAdded);
  const [next, ...effects] = dispatch(followed, { kind: 'connected' }, context, added);
  return [next, ...unsubscribes, ...effects];
}

function withSets(session: Session, { names }: EventOf<'followSets'>): Session {
  const sets = Array.from(names, (name) => [name, session.sets.get(name) ?? newSetChannel(name)] as const);
  return { ...session, sets: new Map(sets) };
}

/** Connects when the first set is followed. */
function connectForSets(session: Session, event: EventOf<'followSets'>, context: StepContext): SessionStep {
  const next = withSets(session, event);
  return [...next.sets.keys()].every((name) => session.sets.has(name)) ? [next] : connect(next, 0, context);
}

function followSetsLater(session: Session, event: EventOf<'followSets'>): SessionStep {
  return stayIfNeeded(withSets(session, event));
}

function followSetsNow(
  session: InState<'open'>,
  event: EventOf<'followSets'>,
  context: StepContext,
): SessionStep {
  const followed = withSets(session, event);
  if (followed.channels.size === 0 && followed.sets.size === 0) return stayIfNeeded(followed);
  const left = [...session.sets.keys()].filter((name) => !event.names.has(name));
  const id = `x${context.serial}`;
  const unsubscribes: SessionEffect[] =
    left.length === 0 ? [] : [{ kind: 'send', frame: { type: 'unsubscribe', id, channels: left } }];
  const isAdded = ({ name }: SetChannel) => !session.sets.has(name);
  const [next, ...effects] = dispatchToSets(followed, { kind: 'connected' }, context, isAdded);
  return [next, ...unsubscribes, ...effects];
}

function receiveWelcome(session: InState<'handshake'>, frame: Welcome, context: StepContext): SessionStep {
  const { session: id, gateway, version, features = [], heartbeat_ms: heartbeatMs } = frame;
  const connection: OpenConnection = {
    kind: 'open',
    session: id,
    gateway,
    version,
    features,
    heartbeatMs,
    since: context.now,
    attempt: session.connection.attempt,
    deadline: context.now + LOST_AFTER_HEARTBEATS * heartbeatMs,
    leaveAt: null,
    status: { state: 'live' },
  };
  const open = { ...session, connection, clockSkew: millis(frame.server_time) - context.now };
  const subscribed = dispatchToAll(open, 'connected', context);
  return session.hidden ? [...subscribed, setRate(HIDDEN_PER_SECOND, context)] : subscribed;
}

function setRate(perSecond: number | null, { serial }: StepContext): SessionEffect {
  return { kind: 'send', frame: { type: 'rate', id: `r${serial}`, max_per_second: perSecond } };
}

function slowDown(session: InState<'open'>, _: SessionEvent, context: StepContext): SessionStep {
  return [{ ...session, hidden: true }, setRate(HIDDEN_PER_SECOND, context)];
}

type FrameHandlers = {
  readonly [F in ServerFrame as F['type']]: (
    session: InState<'open'>,
    frame: F,
    context: StepContext,
  ) => SessionStep;
};

const frameHandlers: FrameHandlers = {
  welcome: ignore,
  snapshot: (session, frame, context) => dispatchToChannel(session, { kind: 'snapshot', frame }, context),
  delta: (session, frame, context) => dispatchToChannel(session, { kind: 'delta', frame }, context),
  patch: (session, frame, context) => dispatchToChannel(session, { kind: 'patch', frame }, context),
  set_snapshot: receiveOfSet,
  set_delta: receiveOfSet,
  ok: (session, frame, context) => dispatch(session, { kind: 'ok', frame }, context),
  error: (session, frame, context) => {
    const [next, ...effects] = dispatch(session, { kind: 'error', frame }, context);
    const [last, ...more] = dispatchToSets(next, { kind: 'frame', frame }, context);
    return [last, ...effects, ...more];
  },
  unsubscribed: (session, frame, context) => {
    const [next] = receiveOfSet(session, frame, context);
    return dispatchToChannel(next, { kind: 'unsubscribed', frame }, context);
  },
  heartbeat: receiveHeartbeat,
  status: (session, { state, reason }) => {
    const status = reason === undefined ? { state } : { state, reason };
    return [{ ...session, connection: { ...session.connection, status } }];
  },
  goaway: (session, frame, { now, jitter }) => {
    const leaveAt = now + jitter * frame.reconnect_within_ms;
    return [{ ...session, connection: { ...session.connection, leaveAt } }];
  },
  auth_expiring: (session) => [session, { kind: 'renew' }],
};

/** Handles a frame. Every frame, even of an unknown type, shows that the connection is alive. */
function receive(
  session: InState<'open'>,
  { frame }: EventOf<'received'>,
  context: StepContext,
): SessionStep {
  // The frame may have waited while the computer slept. Its times would show old figures as new.
  if (context.now >= session.connection.deadline) return reconnect(session, 'connection lost', context);
  const deadline = context.now + LOST_AFTER_HEARTBEATS * session.connection.heartbeatMs;
  const alive = { ...session, connection: { ...session.connection, deadline } };
  if (frame === null) return [alive];
  const handle = frameHandlers[frame.type] as (
    session: InState<'open'>,
    frame: ServerFrame,
    context: StepContext,
  ) => SessionStep;
  return handle(alive, frame, context);
}

function receiveHeartbeat(session: InState<'open'>, frame: Heartbeat, { now }: StepContext): SessionStep {
  const channels = new Map(
    Array.from(session.channels, ([account, channel]) => [account, confirmAsOf(channel, frame.as_of)]),
  );
  const sets = new Map(Array.from(session.sets, ([name, set]) => [name, confirmAsOf(set, frame.as_of)]));
  return [{ ...session, channels, sets, clockSkew: millis(frame.server_time) - now }];
}

function receiveOfSet(
  session: Session,
  frame: SetSnapshot | SetDelta | Unsubscribed,
  context: StepContext,
): SessionStep {
  const isOfSet = ({ name }: SetChannel) => name === frame.channel;
  const [next, ...effects] = dispatchToSets(session, { kind: 'frame', frame }, context, isOfSet);
  if (frame.type === 'unsubscribed' || frame.more !== true) return [next, ...effects];
  // A gateway sends large sets one after the other.
  const sets = Array.from(next.sets, ([name, set]) => [name, waitLonger(set, context)] as const);
  return [{ ...next, sets: new Map(sets) }, ...effects];
}

function checkDeadline(
  session: InState<'connecting' | 'handshake'>,
  _: SessionEvent,
  context: StepContext,
): SessionStep {
  return context.now < session.connection.deadline
    ? [session]
    : reconnect(session, 'the gateway did not answer', context);
}

function rejectInvalid(session: Session, _: SessionEvent, context: StepContext): SessionStep {
  return reconnect(session, 'the gateway sent an invalid message', context);
}

function checkConnection(session: InState<'open'>, _: SessionEvent, context: StepContext): SessionStep {
  const { deadline, leaveAt } = session.connection;
  if (context.now >= deadline) return reconnect(session, 'connection lost', context);
  if (leaveAt !== null && context.now >= leaveAt) return leaveGateway(session, context);
  return dispatchToAll(session, 'tick', context);
}

/** Sends a ping and shortens the deadline, because the connection may have been lost while the page slept. */
function verifyConnection(session: InState<'open'>, _: SessionEvent, context: StepContext): SessionStep {
  const { now, serial } = context;
  const deadline = Math.min(session.connection.deadline, now + PING_TIMEOUT_MS);
  if (now >= deadline) return reconnect({ ...session, hidden: false }, 'connection lost', context);
  const next = { ...session, connection: { ...session.connection, deadline }, hidden: false };
  const ping: SessionEffect = { kind: 'send', frame: { type: 'ping', id: `p${serial}` } };
  return session.hidden ? [next, setRate(null, context), ping] : [next, ping];
}

function leaveGateway(session: InState<'open'>, context: StepContext): SessionStep {
  const [next, ...effects] = connect(disconnectChannels(session, context), 0, context);
  return [next, { kind: 'close' }, ...effects];
}

function handleClose(session: Session, close: EventOf<'closed'>, context: StepContext): SessionStep {
  const disconnected = disconnectChannels(session, context);
  const { code } = close;
  const reason = closeText(code);
  const ended: Session = { ...disconnected, connection: { kind: 'ended', code, reason } };
  const action = closeAction(code);
  if (code === TOO_MANY_CONNECTIONS && wasConnected(session)) {
    const until = context.now + LOST_CONNECTIONS_MS * (1 + context.jitter);
    return [{ ...disconnected, connection: { kind: 'waiting', attempt: 0, until, reason } }];
  }
  if (action === 'stop') return [ended];
  if (action === 'reload') return [ended, { kind: 'reload' }];
  const attempt = failedAttempts(session.connection, context);
  const until = context.now + reconnectDelayMs(close, attempt, context);
  const next = code === GOODBYE ? attempt : attempt + 1; // a goodbye is no failure
  return [{ ...disconnected, connection: { kind: 'waiting', attempt: next, until, reason } }];
}

function wasConnected({ channels, sets }: Session): boolean {
  return (
    [...channels.values()].some(({ position }) => position !== null) ||
    [...sets.values()].some(({ epoch }) => epoch !== null)
  );
}
