/** The accounts of the overview, read again every few seconds, and the time they are confirmed for. */

import { Injectable, computed, inject, signal } from '@angular/core';
import { Unavailable, millis, type AccountList } from '@livebalance/client';

import { GatewayClient } from '../connection/gateway-client';

const MAX_ACCOUNTS = 24;
const REFRESH_INTERVAL_MS = 5_000;
/** Longest pause after a failure. It doubles with each failure in a row, and jitter keeps clients apart. */
const MAX_BACKOFF_MS = 8_000;

@Injectable({ providedIn: 'root' })
export class OverviewStore {
  readonly #client = inject(GatewayClient);
  #reading = false;
  #dueAt = 0;
  #failures = 0;
  /** The gateway's clock minus `GatewayClient.now()`, in milliseconds. */
  #clockSkew: number | null = null;

  /** The latest response, which stays while reads fail. */
  readonly accounts = signal<AccountList | null>(null);
  readonly failed = signal(false);
  readonly asOf = computed(() => this.accounts()?.as_of ?? null);
  /** The age of the shown balances by the gateway's clock, in milliseconds; null if it is unknown. */
  readonly age = computed(() => {
    const [asOf, now] = [this.asOf(), this.#client.time()];
    return asOf === null || this.#clockSkew === null
      ? null
      : Math.max(0, now + this.#clockSkew - millis(asOf));
  });

  /** Reads the accounts if a read is due and none is running. Called every second while they are shown. */
  async refresh(): Promise<void> {
    if (this.#reading || this.#client.now() < this.#dueAt) return;
    this.#reading = true;
    try {
      const accounts = await this.#client.api.accounts('', MAX_ACCOUNTS);
      this.#clockSkew = accounts.serverTime === null ? null : accounts.serverTime - this.#client.now();
      this.#failures = 0;
      this.accounts.set(accounts);
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error;
      this.#failures += 1;
    } finally {
      this.#reading = false;
      this.failed.set(this.#failures > 0);
      const backoff = Math.random() * Math.min(500 * 2 ** this.#failures, MAX_BACKOFF_MS);
      this.#dueAt = this.#client.now() + (this.#failures > 0 ? backoff : REFRESH_INTERVAL_MS);
    }
  }
}
