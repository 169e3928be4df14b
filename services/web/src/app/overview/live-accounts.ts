/** The accounts that the overview shows, live: as many sockets as they need, and their rows as a signal. */

import { Injectable, computed, effect, inject, signal, untracked } from '@angular/core';
import { Client, millis, type AccountId } from '@livebalance/client';

import { GatewayClient, reload } from '../connection/gateway-client';
import { throttled } from '../connection/throttled';
import { fetchToken } from '../connection/token';
import { liveRow, type LiveRow } from './live-row';

/** Number of accounts that a gateway allows for one connection, by default. */
const ACCOUNTS_PER_SOCKET = 128;
/** Shortest time between two updates: figures that change more often cannot be read. One change is shown at once. */
const SHOW_INTERVAL_MS = 200;

type Socket = { readonly client: Client; readonly unfollow: Map<AccountId, () => void> };

@Injectable({ providedIn: 'root' })
export class LiveAccounts {
  readonly #gateway = inject(GatewayClient);
  readonly #time = this.#gateway.time;
  readonly #sockets: Socket[] = [];
  /** Where each followed account is followed, in the order in which they were added. */
  readonly #socketOf = new Map<AccountId, Socket>();
  readonly #changed = throttled(SHOW_INTERVAL_MS, () => {
    this.#show();
  });

  /** The row of each followed account. */
  readonly rows = signal<ReadonlyMap<AccountId, LiveRow>>(new Map());
  /** The time up to which every balance is complete; null if that is unknown for one of them. */
  readonly asOf = computed(() => {
    const times = [...this.rows().values()].filter((row) => row.balance !== null).map((row) => row.asOf);
    if (times.length === 0 || times.includes(null)) return null;
    return times.reduce((a, b) => (a !== null && b !== null && millis(b) < millis(a) ? b : a));
  });

  /** The age of `asOf` by the gateway's clock, in milliseconds; null if it is unknown. */
  readonly age = computed(() => {
    this.#time();
    const asOf = this.asOf();
    const client = this.#sockets[0]?.client;
    const skew = client?.session.clockSkew ?? null;
    if (asOf === null || client === undefined || skew === null) return null;
    return Math.max(0, client.now() + skew - millis(asOf));
  });

  constructor() {
    effect(() => {
      this.#time(); // ages and countdowns change every second
      untracked(() => {
        if (this.#socketOf.size > 0) this.#changed();
      });
    });
  }

  /** Follows these accounts, and no others. */
  follow(accounts: readonly AccountId[]): void {
    const wanted = new Set(accounts);
    for (const account of this.#socketOf.keys()) if (!wanted.has(account)) this.#remove(account);
    for (const account of wanted) if (!this.#socketOf.has(account)) this.#add(account);
    this.#show();
  }

  /** Reconnects now. */
  retry(): void {
    for (const { client } of this.#sockets) client.retry();
  }

  #add(account: AccountId): void {
    const socket = this.#sockets.find(({ unfollow }) => unfollow.size < ACCOUNTS_PER_SOCKET) ?? this.#open();
    this.#socketOf.set(account, socket);
    // Each step of the session shows all rows, so a view needs no listener of its own.
    socket.unfollow.set(
      account,
      socket.client.follow(account, () => undefined),
    );
  }

  #remove(account: AccountId): void {
    const socket = this.#socketOf.get(account);
    socket?.unfollow.get(account)?.();
    socket?.unfollow.delete(account);
    this.#socketOf.delete(account);
  }

  /** Adds a client, whose connection is open while it follows an account. */
  #open(): Socket {
    const client = new Client(location.origin, { token: fetchToken, onOutdated: reload });
    this.#gateway.log.watch(client);
    client.onStep(this.#changed);
    const socket: Socket = { client, unfollow: new Map() };
    this.#sockets.push(socket);
    return socket;
  }

  #show(): void {
    const previous = untracked(this.rows);
    const rows = new Map<AccountId, LiveRow>();
    for (const [account, { client }] of this.#socketOf) {
      const view = client.view(account);
      if (view !== null)
        rows.set(account, liveRow(view, client.session, client.now(), previous.get(account)));
    }
    const isSame =
      rows.size === previous.size && [...rows].every(([account, row]) => previous.get(account) === row);
    if (!isSame) this.rows.set(rows);
    this.#gateway.log.markShown();
  }
}
