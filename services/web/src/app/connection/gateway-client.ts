/** Performs the effects of the session. Only this file uses WebSockets, timers, clocks and random numbers. */

import { Injectable, signal } from '@angular/core';
import { Subject } from 'rxjs';

import { rejectsToken } from '../wire/close';
import { INVALID, UNKNOWN_TYPE, decode } from '../wire/decode';
import { SUBPROTOCOL, type Delta, type Snapshot } from '../wire/frame';
import type { AccountId, Position } from '../wire/identity';
import { advance, startClock } from './clock';
import { step } from './session';
import { NEW_SESSION, wakeAt, type SessionEffect, type SessionEvent } from './session-state';
import { discardToken, renewToken, token } from './token';

/** Interval at which texts with an age or a countdown are updated. */
const TIME_INTERVAL_MS = 1_000;
/** Longest timer. Timers stop while the computer sleeps, so a long timer would fire late. */
const MAX_TIMER_MS = 5_000;
/** Close code of a connection that failed without a close frame (RFC 6455 §7.4.1). */
const ABNORMAL_CLOSURE = 1006;
const TOKEN_FAILED = Symbol('token request failed');
const LAST_RELOAD_KEY = 'livebalance.reloaded';
const RELOAD_INTERVAL_MS = 60_000;

@Injectable({ providedIn: 'root' })
export class GatewayClient {
  readonly session = signal(NEW_SESSION);
  /** The time of `now()`, updated at every step and at least once a second. */
  readonly time = signal(0);
  /** Snapshots and deltas of the followed account. Each fits the state after the previous frame. */
  readonly frames = new Subject<Snapshot | Delta>();

  #clock = startClock(performance.now(), Date.now());
  #serial = 0;
  #socket: WebSocket | null = null;
  /** Identifies the attempt that waits for its token; null if the attempt was cancelled. */
  #attempt: object | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    const wake = () => {
      if (document.visibilityState === 'visible') this.#dispatch({ kind: 'woke' });
    };
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') wake();
      else this.#dispatch({ kind: 'hidden' });
    });
    window.addEventListener('pageshow', wake);
    window.addEventListener('online', wake);
    setInterval(() => {
      this.time.set(this.now());
    }, TIME_INTERVAL_MS);
  }

  /** Follows an account, from `position` if the page shows its state already. Null ends the connection. */
  follow(account: AccountId | null, position: Position | null = null): void {
    if (account !== (this.session().channel?.account ?? null))
      this.#dispatch({ kind: 'follow', account, position });
  }

  retry(): void {
    this.#dispatch({ kind: 'retry' });
  }

  /** Returns milliseconds on the clock of the session. */
  now(): number {
    this.#clock = advance(this.#clock, performance.now(), Date.now());
    return this.#clock.elapsed;
  }

  #dispatch(event: SessionEvent): void {
    this.#serial += 1;
    const context = { now: this.now(), jitter: Math.random(), serial: this.#serial };
    const [session, ...effects] = step(this.session(), event, context);
    this.session.set(session);
    this.time.set(context.now);
    for (const effect of effects) this.#perform(effect);
    this.#setTimer();
  }

  #perform(effect: SessionEffect): void {
    switch (effect.kind) {
      case 'connect':
        void this.#connect();
        return;
      case 'close':
        this.#detachSocket()?.close(1000);
        return;
      case 'send':
        if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(effect.frame));
        return;
      case 'renew':
        void this.#renewToken();
        return;
      case 'apply':
        this.frames.next(effect.frame);
        return;
      case 'reload':
        this.#reload();
        return;
    }
  }

  async #connect(): Promise<void> {
    const attempt = {};
    this.#attempt = attempt;
    const accessToken = await token().catch((): typeof TOKEN_FAILED => TOKEN_FAILED);
    if (attempt !== this.#attempt) return; // the session closed or restarted the attempt
    if (accessToken === TOKEN_FAILED) this.#dispatch({ kind: 'closed', code: ABNORMAL_CLOSURE, reason: '' });
    else this.#openSocket(accessToken);
  }

  async #renewToken(): Promise<void> {
    // If this fails, the gateway closes the connection with 4001, and the next attempt fetches a token.
    const accessToken = await renewToken().catch(() => null);
    if (accessToken !== null) this.#dispatch({ kind: 'renewed', token: accessToken });
  }

  #openSocket(accessToken: string | null): void {
    const { protocol, host } = location;
    const socket = new WebSocket(`${protocol === 'https:' ? 'wss' : 'ws'}://${host}/ws`, SUBPROTOCOL);
    const dispatch = (event: SessionEvent) => {
      if (socket === this.#socket) this.#dispatch(event);
    };
    socket.onopen = () => {
      dispatch({ kind: 'opened', token: accessToken });
    };
    socket.onmessage = ({ data }: MessageEvent<unknown>) => {
      dispatch(frameEvent(data));
    };
    socket.onclose = ({ code, reason }) => {
      if (rejectsToken(code)) discardToken();
      dispatch({ kind: 'closed', code, reason });
    };
    this.#socket = socket;
  }

  /** Returns the current socket, if there is one, and ignores its later events. */
  #detachSocket(): WebSocket | null {
    const socket = this.#socket;
    this.#socket = null;
    this.#attempt = null;
    return socket;
  }

  #setTimer(): void {
    clearTimeout(this.#timer);
    const due = wakeAt(this.session());
    if (due === null) return;
    const delay = Math.min(Math.max(0, due - this.now()), MAX_TIMER_MS);
    this.#timer = setTimeout(() => {
      this.#dispatch({ kind: 'tick' });
    }, delay);
  }

  /** Reloads the page at most once a minute. If it stays outdated, the connection status says so. */
  #reload(): void {
    const last = Number(sessionStorage.getItem(LAST_RELOAD_KEY) ?? 0);
    if (Math.abs(Date.now() - last) < RELOAD_INTERVAL_MS) return;
    sessionStorage.setItem(LAST_RELOAD_KEY, `${Date.now()}`);
    location.reload();
  }
}

function frameEvent(data: unknown): SessionEvent {
  const frame = typeof data === 'string' ? decode(data) : INVALID;
  if (frame === INVALID) return { kind: 'invalid' };
  return { kind: 'received', frame: frame === UNKNOWN_TYPE ? null : frame };
}
