/** The client of this page: the session as a signal, and the followed account. */

import { Injectable, computed, inject, signal } from '@angular/core';
import {
  Client,
  type AccountId,
  type AccountState,
  type AccountView,
  type Channel,
  type Session,
} from '@livebalance/client';

import { ConnectionLog } from './connection-log';
import { throttled } from './throttled';
import { fetchToken } from './token';

/** Shortest time between two updates of the page. A single change is shown at once. */
const SHOW_INTERVAL_MS = 50;
/** Interval at which texts with an age or a countdown are updated. */
const TIME_INTERVAL_MS = 1_000;
const LAST_RELOAD_KEY = 'livebalance.reloaded';
const RELOAD_INTERVAL_MS = 60_000;

/** The session, with the subscription to the followed account. */
export type PageSession = Omit<Session, 'channels' | 'sets'> & { readonly channel: Channel | null };

@Injectable({ providedIn: 'root' })
export class GatewayClient {
  readonly #client = new Client(location.origin, { token: fetchToken, onOutdated: reload });
  readonly #session = signal(this.#client.session);
  readonly #account = signal<AccountId | null>(null);
  readonly #changed = throttled(SHOW_INTERVAL_MS, () => {
    this.#show();
  });
  #unfollow: (() => void) | null = null;

  readonly api = this.#client.api;
  readonly log = inject(ConnectionLog);
  readonly session = computed<PageSession>(() => {
    const { channels, ...session } = this.#session();
    const account = this.#account();
    return { ...session, channel: (account && channels.get(account)) ?? null };
  });
  /** The time on the session's clock, updated at every step and at least once a second. */
  readonly time = signal(0);
  /** The followed account; null if there is none. */
  readonly view = signal<AccountView | null>(null);

  constructor() {
    this.log.watch(this.#client);
    this.#client.onStep(this.#changed);
    setInterval(() => {
      this.time.set(this.now());
    }, TIME_INTERVAL_MS);
  }

  /** Returns milliseconds on the clock of the session. */
  now(): number {
    return this.#client.now();
  }

  /** Follows an account, from the state `kept` if the page has one. Null ends the subscription. */
  follow(account: AccountId | null, kept: AccountState | null = null): void {
    if (account === this.#account()) return;
    this.#unfollow?.();
    this.#account.set(account);
    this.#unfollow = account && this.#client.follow(account, this.#changed, kept);
    this.#show();
  }

  async loadOlder(): Promise<void> {
    await this.#client.loadOlder(this.#account() ?? '');
  }

  async retryMissing(): Promise<void> {
    await this.#client.retryMissing(this.#account() ?? '');
  }

  retry(): void {
    this.#client.retry();
  }

  #show(): void {
    this.#session.set(this.#client.session);
    this.time.set(this.now());
    this.view.set(this.#client.view(this.#account() ?? ''));
    this.log.markShown();
  }
}

/** Reloads the page at most once a minute. If it stays outdated, the connection status says so. */
export function reload(): void {
  try {
    const last = Number(sessionStorage.getItem(LAST_RELOAD_KEY) ?? 0);
    if (Math.abs(Date.now() - last) < RELOAD_INTERVAL_MS) return;
    sessionStorage.setItem(LAST_RELOAD_KEY, `${Date.now()}`);
  } catch {
    return; // The user has blocked the storage of this site: nothing would end the reloads.
  }
  location.reload();
}
