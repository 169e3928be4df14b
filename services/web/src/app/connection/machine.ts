/**
 * The connection as a pure machine: (state, event, moment) → state and effects.
 *
 * `table` is total: a state or an event without its cell does not compile. Time, chance and ids come with the
 * moment; sockets, timers and reloads are effects that `connection.ts` performs.
 */

import { closeWords, verdict } from '../wire/close';
import type { Heartbeat, ServerFrame, Welcome } from '../wire/frame';
import { channelName, millis } from '../wire/identity';
import { backoffMs, waitMs } from './backoff';
import { confirm, newChannel, stepChannel, type ChannelEvent } from './channel';
import type { Moment } from './moment';
import type { Effect, Event, Link, Machine, Open, Step } from './state';

/** From opening a socket to its welcome. */
const WELCOME_MS = 10_000;
/** Without any frame for so many heartbeats a socket is dead, whatever it says of itself. */
const DEAD_AFTER_HEARTBEATS = 2.5;
/** After a sleep a socket that seems open has to prove it within this time. */
const PROOF_MS = 5_000;
/** To a page that nobody sees. */
const HIDDEN_PER_SECOND = 1;
/** A connection that lived so long starts the backoff anew. */
const SETTLED_MS = 5_000;

type In<L extends Link['kind']> = Machine & { readonly link: Extract<Link, { kind: L }> };
type Of<E extends Event['kind']> = Extract<Event, { kind: E }>;
type Table = {
  readonly [L in Link['kind']]: {
    readonly [E in Event['kind']]: (machine: In<L>, event: Of<E>, at: Moment) => Step;
  };
};

const stay = (machine: Machine): Step => [machine];
const hide = (machine: Machine): Step => [{ ...machine, hidden: true }];
const show = (machine: Machine): Step => [{ ...machine, hidden: false }];
const connectAgain = (machine: Machine, _: Event, at: Moment): Step => connect(machine, 0, at);
const hurry = (machine: In<'waiting'>, _: Event, at: Moment): Step => {
  const until = Math.min(machine.link.until, at.now + backoffMs(0, at.chance));
  return [{ ...machine, link: { ...machine.link, until }, hidden: false }];
};

const table: Table = {
  idle: {
    follow: (machine, { account }, at) =>
      account === null ? [machine] : connect({ ...machine, channel: newChannel(account) }, 0, at),
    opened: stay,
    renewed: stay,
    heard: stay,
    garbled: stay,
    closed: stay,
    tick: stay,
    hid: hide,
    woke: show,
    again: stay,
  },
  connecting: {
    follow: choose,
    opened: introduce,
    renewed: stay,
    heard: stay,
    garbled: stay,
    closed: lose,
    tick: checkDeadline,
    hid: hide,
    woke: show,
    again: stay,
  },
  greeting: {
    follow: choose,
    opened: stay,
    renewed: stay,
    heard: (machine, { frame }, at) => (frame?.type === 'welcome' ? welcome(machine, frame, at) : [machine]),
    garbled: (machine, _, at) => hangUp(machine, 'the gateway was not understood', at),
    closed: lose,
    tick: checkDeadline,
    hid: hide,
    woke: show,
    again: stay,
  },
  open: {
    follow: swap,
    opened: stay,
    renewed: refresh,
    heard: hear,
    garbled: (machine, _, at) => hangUp(machine, 'the gateway was not understood', at),
    closed: lose,
    tick: watch,
    hid: slowDown,
    woke: prove,
    again: prove,
  },
  waiting: {
    follow: choose,
    opened: stay,
    renewed: stay,
    heard: stay,
    garbled: stay,
    closed: stay,
    tick: (machine, _, at) =>
      at.now < machine.link.until ? [machine] : connect(machine, machine.link.attempt, at),
    hid: hide,
    woke: hurry,
    again: hurry,
  },
  ended: {
    follow: (machine, { account }, at) =>
      account === null
        ? [{ ...machine, channel: null }]
        : connect({ ...machine, channel: newChannel(account) }, 0, at),
    opened: stay,
    renewed: stay,
    heard: stay,
    garbled: stay,
    closed: stay,
    tick: stay,
    hid: hide,
    woke: show,
    again: connectAgain,
  },
};

export function step(machine: Machine, event: Event, at: Moment): Step {
  // The table is checked cell by cell above; here link and event are only known to belong together.
  const cell = table[machine.link.kind][event.kind] as (m: Machine, e: Event, at: Moment) => Step;
  return cell(machine, event, at);
}

function connect(machine: Machine, attempt: number, at: Moment): Step {
  return [
    { ...machine, link: { kind: 'connecting', attempt, deadline: at.now + WELCOME_MS } },
    { kind: 'open' },
  ];
}

function introduce(machine: In<'connecting'>, { token }: Of<'opened'>): Step {
  const next: Machine = { ...machine, link: { ...machine.link, kind: 'greeting' } };
  return token === null ? [next] : [next, { kind: 'send', frame: { type: 'auth', token } }];
}

function refresh(machine: In<'open'>, { token }: Of<'renewed'>, at: Moment): Step {
  return [machine, { kind: 'send', frame: { type: 'refresh', id: `a${at.serial}`, token } }];
}

/** Another account while no gateway listens: it is asked for after the welcome. */
function choose(machine: Machine, { account }: Of<'follow'>): Step {
  if (account === null) return [{ ...machine, link: { kind: 'idle' }, channel: null }, { kind: 'close' }];
  return [{ ...machine, channel: newChannel(account) }];
}

/** Another account on an open socket. */
function swap(machine: In<'open'>, event: Of<'follow'>, at: Moment): Step {
  if (event.account === null || machine.channel === null) return choose(machine, event);
  const left = channelName(machine.channel.account);
  const [next, ...effects] = tell({ ...machine, channel: newChannel(event.account) }, { kind: 'joined' }, at);
  return [
    next,
    { kind: 'send', frame: { type: 'unsubscribe', id: `u${at.serial}`, channels: [left] } },
    ...effects,
  ];
}

function welcome(machine: In<'greeting'>, frame: Welcome, at: Moment): Step {
  const { session, gateway, version, heartbeat_ms: heartbeatMs } = frame;
  const link: Open = {
    kind: 'open',
    session,
    gateway,
    version,
    heartbeatMs,
    since: at.now,
    attempt: machine.link.attempt,
    deadline: at.now + DEAD_AFTER_HEARTBEATS * heartbeatMs,
    leaveAt: null,
    status: { state: 'live' },
  };
  const open = { ...machine, link, skew: millis(frame.server_time) - at.now };
  const step = tell(open, { kind: 'joined' }, at);
  return machine.hidden ? [...step, rate(HIDDEN_PER_SECOND, at)] : step;
}

function rate(perSecond: number | null, at: Moment): Effect {
  return { kind: 'send', frame: { type: 'rate', id: `r${at.serial}`, max_per_second: perSecond } };
}

function slowDown(machine: In<'open'>, _: Event, at: Moment): Step {
  return [{ ...machine, hidden: true }, rate(HIDDEN_PER_SECOND, at)];
}

type Heard = {
  readonly [F in ServerFrame as F['type']]: (machine: In<'open'>, frame: F, at: Moment) => Step;
};

const heard: Heard = {
  welcome: stay,
  snapshot: (machine, frame, at) => tellOf(machine, { kind: 'snapshot', frame }, at),
  delta: (machine, frame, at) => tellOf(machine, { kind: 'delta', frame }, at),
  ok: (machine, frame, at) => tell(machine, { kind: 'ok', frame }, at),
  error: (machine, frame, at) => tell(machine, { kind: 'error', frame }, at),
  unsubscribed: (machine, frame, at) => tellOf(machine, { kind: 'unsubscribed', frame }, at),
  heartbeat: beat,
  status: (machine, { state, reason }) => {
    const status = reason === undefined ? { state } : { state, reason };
    return [{ ...machine, link: { ...machine.link, status } }];
  },
  goaway: (machine, frame, at) => {
    const leaveAt = at.now + at.chance * frame.reconnect_within_ms;
    return [{ ...machine, link: { ...machine.link, leaveAt } }];
  },
  auth_expiring: (machine) => [machine, { kind: 'renew' }],
};

/** Any frame, also one of an unknown type, shows that the socket lives. */
function hear(machine: In<'open'>, { frame }: Of<'heard'>, at: Moment): Step {
  const deadline = at.now + DEAD_AFTER_HEARTBEATS * machine.link.heartbeatMs;
  const alive = { ...machine, link: { ...machine.link, deadline } };
  if (frame === null) return [alive];
  const act = heard[frame.type] as (m: In<'open'>, f: ServerFrame, at: Moment) => Step;
  return act(alive, frame, at);
}

function beat(machine: In<'open'>, frame: Heartbeat, at: Moment): Step {
  const channel = machine.channel === null ? null : confirm(machine.channel, frame.as_of);
  return [{ ...machine, channel, skew: millis(frame.server_time) - at.now }];
}

/** For a frame that names its channel: one that we left is no longer ours to hear of. */
function tellOf(
  machine: Machine,
  event: Extract<ChannelEvent, { frame: { channel: string } }>,
  at: Moment,
): Step {
  const { channel } = machine;
  const ours = channel !== null && event.frame.channel === channelName(channel.account);
  return ours ? tell(machine, event, at) : [machine];
}

function tell(machine: Machine, event: ChannelEvent, at: Moment): Step {
  if (machine.channel === null) return [machine];
  const [channel, ...told] = stepChannel(machine.channel, event, at);
  const next = { ...machine, channel };
  const effects = told.filter((effect) => effect.kind !== 'hang up');
  const end = told.find((effect) => effect.kind === 'hang up');
  return end === undefined ? [next, ...effects] : hangUp(next, end.why, at);
}

function checkDeadline(machine: In<'connecting' | 'greeting'>, _: Event, at: Moment): Step {
  return at.now < machine.link.deadline ? [machine] : hangUp(machine, 'no answer', at);
}

function watch(machine: In<'open'>, _: Event, at: Moment): Step {
  if (at.now >= machine.link.deadline) return hangUp(machine, 'connection lost', at);
  if (machine.link.leaveAt !== null && at.now >= machine.link.leaveAt) return leave(machine, at);
  return tell(machine, { kind: 'tick' }, at);
}

/** What happened in the sleep is not known: asks, and gives it a short time. */
function prove(machine: In<'open'>, _: Event, at: Moment): Step {
  const deadline = Math.min(machine.link.deadline, at.now + PROOF_MS);
  if (at.now >= deadline) return hangUp({ ...machine, hidden: false }, 'connection lost', at);
  const next = { ...machine, link: { ...machine.link, deadline }, hidden: false };
  const ping: Effect = { kind: 'send', frame: { type: 'ping', id: `p${at.serial}` } };
  return machine.hidden ? [next, rate(null, at), ping] : [next, ping];
}

function leave(machine: In<'open'>, at: Moment): Step {
  const [next, ...effects] = connect(parted(machine, at), 0, at);
  return [next, { kind: 'close' }, ...effects];
}

function hangUp(machine: Machine, why: string, at: Moment): Step {
  const attempt = attempts(machine.link, at);
  const until = at.now + backoffMs(attempt, at.chance);
  return [
    { ...parted(machine, at), link: { kind: 'waiting', attempt: attempt + 1, until, why } },
    { kind: 'close' },
  ];
}

function lose(machine: Machine, close: Of<'closed'>, at: Moment): Step {
  const gone = parted(machine, at);
  const { code } = close;
  const why = closeWords(code);
  const ended: Machine = { ...gone, link: { kind: 'ended', code, why } };
  const fate = verdict(code);
  if (fate === 'stays away') return [ended];
  if (fate === 'reloads') return [ended, { kind: 'reload' }];
  const attempt = attempts(machine.link, at);
  const until = at.now + waitMs(close, attempt, at);
  return [{ ...gone, link: { kind: 'waiting', attempt: attempt + 1, until, why } }];
}

function parted(machine: Machine, at: Moment): Machine {
  if (machine.channel === null) return machine;
  const [channel] = stepChannel(machine.channel, { kind: 'parted' }, at);
  return { ...machine, channel };
}

/** Failures in a row before this one. */
function attempts(link: Link, at: Moment): number {
  if (link.kind === 'open') return at.now - link.since >= SETTLED_MS ? 0 : link.attempt;
  return 'attempt' in link ? link.attempt : 0;
}
