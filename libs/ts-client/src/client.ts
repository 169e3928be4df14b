/** Performs the effects of the session: WebSockets, timers, clocks, random numbers and the storage. */

import type { AccountState } from './account/account-state.js';
import type { AccountView } from './account/account-view.js';
import { Api } from './api.js';
import { advance, startClock } from './connection/clock.js';
import { Throttle } from './connection/throttle.js';
import { step } from './connection/session.js';
import {
  NEW_SESSION,
  wakeAt,
  type Session,
  type SessionEffect,
  type SessionEvent,
} from './connection/session-state.js';
import { NO_COUNTERS, count, eventsOf, type ClientEvent, type Counters } from './events.js';
import { FollowedAccount, type Listener } from './followed-account.js';
import { watchVisibility } from './page-visibility.js';
import { StateWriter, type StateStorage } from './storage.js';
import { FollowedSet, type SetListener } from './sets/followed-set.js';
import type { SetView } from './sets/set-state.js';
import { Token, type TokenProvider } from './token.js';
import { rejectsToken, revokesAccess } from './wire/close.js';
import { INVALID, UNKNOWN_TYPE, decode } from './wire/decode.js';
import { SUBPROTOCOL } from './wire/frame.js';
import { accountId, channelAccount, setName, type AccountId, type SetName } from './wire/identity.js';

/** Longest timer. Timers stop while the computer sleeps, so a long timer would fire late. */
const MAX_TIMER_MS = 5_000;
/** Close code of a connection that failed without a close frame (RFC 6455 §7.4.1). */
const ABNORMAL_CLOSURE = 1006;
const TOKEN_FAILED = Symbol('token request failed');

export type ClientOptions = {
  /** Called for the first connection, and again when the token is about to expire or was rejected. */
  readonly token?: TokenProvider;
  /** Keeps states over a reload, so that only the revisions after them are sent. */
  readonly storage?: StateStorage;
  /** Asks for patches, which take fewer bytes than deltas. States and events are the same. */
  readonly patches?: boolean;
  /** Called when the gateway no longer serves this version of the protocol. A page reloads then. */
  readonly onOutdated?: () => void;
};

/**
 * Follows accounts and sets of accounts over one connection to a gateway, and reconnects when it is lost.
 *
 * The connection is open while anything is followed.
 */
export class Client {
  /** Reads over REST. */
  readonly api: Api;

  readonly #socketUrl: URL;
  readonly #token: Token;
  readonly #onOutdated: () => void;
  readonly #writer: StateWriter | null;
  readonly #unwatch: () => void;
  /** The accounts that the user follows. */
  readonly #followed = new Map<AccountId, FollowedAccount>();
  /** The accounts that the session knows. */
  readonly #subscribed = new Map<AccountId, FollowedAccount>();
  readonly #sets = new Map<SetName, FollowedSet>();
  readonly #listeners = new Set<() => void>();
  readonly #eventListeners = new Set<(event: ClientEvent) => void>();
  #counters = NO_COUNTERS;
  #session: Session;
  #clock = startClock(performance.now(), Date.now());
  #serial = 0;
  #socket: WebSocket | null = null;
  /** Identifies the attempt that waits for its token; null if the attempt was cancelled. */
  #attempt: object | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Time of the next tick; Infinity if there is no timer. */
  #timerAt = Infinity;
  readonly #throttle = new Throttle();
  #isFollowing = false;
  #isClosed = false;

  /** `url` is the address of the gateway, such as `https://bank.example`; its path is ignored. */
  constructor(url: string | URL, { token, storage, patches = false, onOutdated }: ClientOptions = {}) {
    this.#session = { ...NEW_SESSION, patches };
    const origin = new URL('/', url);
    this.#socketUrl = new URL('/ws', origin);
    this.#socketUrl.protocol = origin.protocol === 'https:' ? 'wss:' : 'ws:';
    this.#token = new Token(token ?? (() => Promise.resolve(null)));
    this.#onOutdated = onOutdated ?? (() => undefined);
    this.#writer = storage === undefined ? null : new StateWriter(storage);
    this.api = new Api(origin, this.#token);
    this.#unwatch = watchVisibility(
      () => {
        this.#dispatch({ kind: 'hidden' });
        void this.#writer?.flush();
      },
      () => {
        this.#dispatch({ kind: 'woke' });
      },
    );
  }

  /** The state of the connection and of all subscriptions, as an immutable value. */
  get session(): Session {
    return this.#session;
  }

  /** How often this client connected, resumed and repaired gaps, as an immutable value. */
  get counters(): Counters {
    return this.#counters;
  }

  /** Returns milliseconds on the clock of the session. */
  now(): number {
    this.#clock = advance(this.#clock, performance.now(), Date.now());
    return this.#clock.elapsed;
  }

  /**
   * Follows an account, and calls `listener` with each new view of it. Returns a function that ends this.
   *
   * Listeners of the same account share one subscription, which begins with the state `kept` if there is one.
   * Throws a RangeError if the id is invalid.
   */
  follow(account: string, listener: Listener, kept: AccountState | null = null): () => void {
    const id = accountId(account);
    if (id === null) throw new RangeError(`${JSON.stringify(account)} is not an account id`);
    if (this.#isClosed) throw new Error('the client is closed');
    const followed = this.#followed.get(id) ?? new FollowedAccount(id, this.api);
    const stop = followed.listeners.add(listener);
    if (kept !== null && !this.#followed.has(id)) followed.restore(kept);
    this.#followed.set(id, followed);
    this.#followSoon();
    return () => {
      stop();
      this.#followSoon(); // a listener that is added in the same turn keeps the subscription
    };
  }

  /** Returns the current view of an account, or null if the account is not followed. */
  view(account: string): AccountView | null {
    return this.#account(account)?.view ?? null;
  }

  /**
   * Follows a set: `prefix:<start of ids>` or `client:<client id>`. Calls `listener` with each new view of it.
   *
   * Returns a function that ends this. Throws a RangeError if the name is invalid.
   */
  followSet(name: string, listener: SetListener): () => void {
    const set = setName(name);
    if (set === null) throw new RangeError(`${JSON.stringify(name)} is not the name of a set`);
    if (this.#isClosed) throw new Error('the client is closed');
    const followed = this.#sets.get(set) ?? new FollowedSet(set);
    const stop = followed.listeners.add(listener);
    this.#sets.set(set, followed);
    this.#followSoon();
    return () => {
      stop();
      this.#followSoon();
    };
  }

  /** Returns the current view of a set, or null if the set is not followed. */
  setView(name: string): SetView | null {
    return this.#sets.get(name as SetName)?.view ?? null;
  }

  /** Calls `listener` after each step of the session. Returns a function that ends this. */
  onStep(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Calls `listener` with what happens, in order: see `ClientEvent`. Returns a function that ends this. */
  onEvent(listener: (event: ClientEvent) => void): () => void {
    this.#eventListeners.add(listener);
    return () => {
      this.#eventListeners.delete(listener);
    };
  }

  /** Loads one page of older transfers of a followed account. */
  async loadOlder(account: string): Promise<void> {
    await this.#account(account)?.loadOlder();
  }

  /** Continues to load the transfers of a gap after a failure. */
  async retryMissing(account: string): Promise<void> {
    await this.#account(account)?.retryMissing();
  }

  /** Reconnects now. */
  retry(): void {
    this.#dispatch({ kind: 'retry' });
  }

  /** Closes the connection as a network that fails does. The client reconnects and resumes: for demos and tests. */
  dropConnection(): void {
    const socket = this.#socket;
    if (this.#session.connection.kind !== 'open' || socket === null) return;
    this.#detachSocket();
    socket.close();
    this.#dispatch({ kind: 'closed', code: ABNORMAL_CLOSURE, reason: '' });
  }

  /** Closes the connection and writes all states. The client cannot be used any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#unwatch();
    for (const followed of [...this.#followed.values(), ...this.#sets.values()]) followed.listeners.clear();
    this.#dispatchFollow([]);
    this.#listeners.clear();
    this.#eventListeners.clear();
    await this.#writer?.flush();
  }

  #account(account: string): FollowedAccount | undefined {
    return this.#followed.get(account as AccountId);
  }

  /** Tells the session which accounts to follow, once for all calls of a turn, or while the throttle lets it wait. */
  #followSoon(): void {
    if (this.#isFollowing) return;
    this.#isFollowing = true;
    const wait = this.#throttle.wait(this.now());
    if (wait === 0) void Promise.resolve().then(() => this.#followNow());
    else setTimeout(() => void this.#followNow(), wait);
  }

  async #followNow(): Promise<void> {
    const added = this.#added();
    await Promise.all(added.map((account) => this.#restore(account)));
    this.#isFollowing = false;
    if (this.#isClosed) return;
    this.#dispatchFollow(added.filter((account) => !account.listeners.isEmpty));
    if (this.#added().length > 0) this.#followSoon();
  }

  #added(): FollowedAccount[] {
    return [...this.#followed.values()].filter(
      (account) => this.#subscribed.get(account.account) !== account,
    );
  }

  async #restore(account: FollowedAccount): Promise<void> {
    if (account.state !== null || this.#writer === null) return;
    const state = await this.#writer.restore(account.account);
    if (state !== null) account.restore(state);
  }

  #dispatchFollow(added: readonly FollowedAccount[]): void {
    this.#dispatchSets();
    for (const account of this.#followed.values())
      if (account.listeners.isEmpty) this.#followed.delete(account.account);
    const removed = [...this.#subscribed.values()]
      .filter((account) => this.#followed.get(account.account) !== account)
      .map(({ account }) => account);
    if (added.length === 0 && removed.length === 0) return;
    for (const account of removed) this.#subscribed.delete(account);
    for (const account of added) this.#subscribed.set(account.account, account);
    this.#throttle.sent(this.now());
    const positions = added.map(({ account, position }) => [account, position] as const);
    this.#dispatch({ kind: 'follow', added: new Map(positions), removed });
  }

  #dispatchSets(): void {
    for (const [name, set] of this.#sets) if (set.listeners.isEmpty) this.#sets.delete(name);
    const [names, known] = [new Set(this.#sets.keys()), this.#session.sets];
    if (names.size !== known.size || [...names].some((name) => !known.has(name))) {
      this.#throttle.sent(this.now());
      this.#dispatch({ kind: 'followSets', names });
    }
  }

  #dispatch(event: SessionEvent): void {
    this.#serial += 1;
    const context = { now: this.now(), jitter: Math.random(), serial: this.#serial };
    const previous = this.#session;
    const [session, ...effects] = step(previous, event, context);
    this.#session = session;
    for (const effect of effects) this.#perform(effect);
    this.#forgetRevoked(previous, session);
    this.#setTimer();
    for (const followed of this.#affected(event, previous)) followed.update(session, context.now);
    for (const listener of this.#listeners) listener();
    for (const event of eventsOf(previous, session, effects, context.now)) this.#report(event);
  }

  /** Returns what a step can have changed: a delta changes one account, as long as the connection stays. */
  #affected(event: SessionEvent, { connection }: Session): Iterable<FollowedAccount | FollowedSet> {
    if (
      event.kind !== 'received' ||
      (event.frame?.type !== 'delta' && event.frame?.type !== 'patch') ||
      this.#session.connection.kind !== connection.kind
    )
      return [...this.#subscribed.values(), ...this.#sets.values()];
    const account = channelAccount(event.frame.channel);
    const followed = account === null ? undefined : this.#subscribed.get(account);
    return followed === undefined ? [] : [followed];
  }

  #report(event: ClientEvent): void {
    this.#counters = count(this.#counters, event);
    for (const listener of this.#eventListeners) listener(event);
  }

  /** Removes the stored states that the user may no longer see. */
  #forgetRevoked(previous: Session, { connection, channels }: Session): void {
    if (this.#writer === null) return;
    if (connection.kind === 'ended' && connection !== previous.connection && revokesAccess(connection.code))
      this.#writer.clear();
    for (const [account, { phase }] of channels)
      if (phase.kind === 'rejected' && previous.channels.get(account)?.phase !== phase)
        this.#writer.change(account, null);
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
      case 'apply': {
        const account = this.#subscribed.get(effect.account);
        account?.apply(effect.frame);
        this.#writer?.change(effect.account, account?.state ?? null);
        return;
      }
      case 'applySet':
        this.#sets.get(effect.name)?.apply(effect.frame);
        return;
      case 'reload':
        this.#onOutdated();
        return;
    }
  }

  async #connect(): Promise<void> {
    const attempt = {};
    this.#attempt = attempt;
    const token = await this.#token.get().catch((): typeof TOKEN_FAILED => TOKEN_FAILED);
    if (attempt !== this.#attempt) return; // the session closed or restarted the attempt
    if (token === TOKEN_FAILED) this.#dispatch({ kind: 'closed', code: ABNORMAL_CLOSURE, reason: '' });
    else this.#openSocket(token);
  }

  async #renewToken(): Promise<void> {
    // If this fails, the gateway closes the connection with 4001, and the next attempt fetches a token.
    const token = await this.#token.renew().catch(() => null);
    if (token !== null) this.#dispatch({ kind: 'renewed', token });
  }

  #openSocket(token: string | null): void {
    const socket = new WebSocket(this.#socketUrl, SUBPROTOCOL);
    const dispatch = (event: SessionEvent) => {
      if (socket === this.#socket) this.#dispatch(event);
    };
    socket.onopen = () => {
      dispatch({ kind: 'opened', token });
    };
    socket.onmessage = ({ data }: MessageEvent<unknown>) => {
      dispatch(frameEvent(data));
    };
    socket.onclose = ({ code, reason }) => {
      if (rejectsToken(code)) this.#token.discard();
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

  /** Sets the timer for the next tick. One that fires earlier stays: a tick that is not due changes nothing. */
  #setTimer(): void {
    const due = wakeAt(this.#session);
    const now = this.now();
    const at = due === null ? Infinity : Math.min(Math.max(now, due), now + MAX_TIMER_MS);
    if (due !== null && this.#timerAt <= at) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    if (due === null) return;
    this.#timer = setTimeout(() => {
      this.#timerAt = Infinity;
      this.#dispatch({ kind: 'tick' });
    }, at - now);
  }
}

function frameEvent(data: unknown): SessionEvent {
  const frame = typeof data === 'string' ? decode(data) : INVALID;
  if (frame === INVALID) return { kind: 'invalid' };
  return { kind: 'received', frame: frame === UNKNOWN_TYPE ? null : frame };
}
