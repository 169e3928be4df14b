/** The only file that touches a WebSocket, timers, clocks and chance: performs what the machine decides. */

import { Injectable, signal } from '@angular/core';
import { Subject } from 'rxjs';

import { refusesToken } from '../wire/close';
import { BROKEN, UNKNOWN, decode } from '../wire/decode';
import { SUBPROTOCOL, type Delta, type Snapshot } from '../wire/frame';
import type { AccountId } from '../wire/identity';
import { advance, startClock } from './clock';
import { step } from './machine';
import { forget, renew, token } from './token';
import { START, wakeAt, type Effect, type Event } from './state';

/** How often texts that tell an age or a countdown are written anew. */
const VIEW_EVERY_MS = 1_000;
/** Timers stand still while the machine sleeps, so none is longer than this. */
const LONGEST_TIMER_MS = 5_000;
/** What a browser says of a connection that never was. */
const BROKE = 1006;
const NO_TOKEN = Symbol('no token');
const RELOADED = 'livebalance.reloaded';
const RELOAD_EVERY_MS = 60_000;

@Injectable({ providedIn: 'root' })
export class Connection {
  readonly state = signal(START);
  /** `now()` of the last step, and at least once a second. */
  readonly time = signal(0);
  /** Each fits the one before; only for the account followed last. */
  readonly shown = new Subject<Snapshot | Delta>();

  #clock = startClock(performance.now(), Date.now());
  #serial = 0;
  #socket: WebSocket | null = null;
  /** What is awaited before a socket is opened. */
  #dial: object | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    const woke = () => {
      if (document.visibilityState === 'visible') this.#dispatch({ kind: 'woke' });
    };
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') woke();
      else this.#dispatch({ kind: 'hid' });
    });
    window.addEventListener('pageshow', woke);
    window.addEventListener('online', woke);
    setInterval(() => {
      this.time.set(this.now());
    }, VIEW_EVERY_MS);
  }

  follow(account: AccountId | null): void {
    if (account !== (this.state().channel?.account ?? null)) this.#dispatch({ kind: 'follow', account });
  }

  again(): void {
    this.#dispatch({ kind: 'again' });
  }

  /** Milliseconds on the clock that the machine's moments are of. */
  now(): number {
    this.#clock = advance(this.#clock, performance.now(), Date.now());
    return this.#clock.elapsed;
  }

  #dispatch(event: Event): void {
    this.#serial += 1;
    const moment = { now: this.now(), chance: Math.random(), serial: this.#serial };
    const [state, ...effects] = step(this.state(), event, moment);
    this.state.set(state);
    this.time.set(moment.now);
    for (const effect of effects) this.#perform(effect);
    this.#setTimer();
  }

  #perform(effect: Effect): void {
    switch (effect.kind) {
      case 'open':
        void this.#open();
        return;
      case 'close':
        this.#drop()?.close(1000);
        return;
      case 'send':
        if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(effect.frame));
        return;
      case 'renew':
        void this.#renew();
        return;
      case 'show':
        this.shown.next(effect.frame);
        return;
      case 'reload':
        this.#reload();
        return;
    }
  }

  async #open(): Promise<void> {
    const dial = {};
    this.#dial = dial;
    const shown = await token().catch((): typeof NO_TOKEN => NO_TOKEN);
    if (dial !== this.#dial) return; // closed meanwhile
    if (shown === NO_TOKEN) this.#dispatch({ kind: 'closed', code: BROKE, reason: '' });
    else this.#connect(shown);
  }

  async #renew(): Promise<void> {
    const shown = await renew().catch(() => null); // without one, the gateway closes, and it is tried anew
    if (shown !== null) this.#dispatch({ kind: 'renewed', token: shown });
  }

  #connect(shown: string | null): void {
    const { protocol, host } = location;
    const socket = new WebSocket(`${protocol === 'https:' ? 'wss' : 'ws'}://${host}/ws`, SUBPROTOCOL);
    const heard = (event: Event) => {
      if (socket === this.#socket) this.#dispatch(event);
    };
    socket.onopen = () => {
      heard({ kind: 'opened', token: shown });
    };
    socket.onmessage = ({ data }: MessageEvent<unknown>) => {
      heard(frameEvent(data));
    };
    socket.onclose = ({ code, reason }) => {
      if (refusesToken(code)) forget();
      heard({ kind: 'closed', code, reason });
    };
    this.#socket = socket;
  }

  /** Whatever the socket still says is not heard. */
  #drop(): WebSocket | null {
    const socket = this.#socket;
    this.#socket = null;
    this.#dial = null;
    return socket;
  }

  #setTimer(): void {
    clearTimeout(this.#timer);
    const due = wakeAt(this.state());
    if (due === null) return;
    const wait = Math.min(Math.max(0, due - this.now()), LONGEST_TIMER_MS);
    this.#timer = setTimeout(() => {
      this.#dispatch({ kind: 'tick' });
    }, wait);
  }

  /** Once a minute at most: a page that stays too old after a reload says so instead. */
  #reload(): void {
    const last = Number(sessionStorage.getItem(RELOADED) ?? 0);
    if (Math.abs(Date.now() - last) < RELOAD_EVERY_MS) return;
    sessionStorage.setItem(RELOADED, `${Date.now()}`);
    location.reload();
  }
}

function frameEvent(data: unknown): Event {
  const frame = typeof data === 'string' ? decode(data) : BROKEN;
  if (frame === BROKEN) return { kind: 'garbled' };
  return { kind: 'heard', frame: frame === UNKNOWN ? null : frame };
}
