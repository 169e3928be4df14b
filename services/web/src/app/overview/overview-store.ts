/** Which accounts the overview lists, read again from time to time. Their balances are live: `live-accounts.ts`. */

import { Injectable, inject, signal } from '@angular/core';
import { Unavailable, type AccountId } from '@livebalance/client';

import { GatewayClient } from '../connection/gateway-client';

const MAX_ACCOUNTS = 24;
const REFRESH_INTERVAL_MS = 30_000;
/** Longest pause after a failure. It doubles with each failure in a row, and jitter keeps clients apart. */
const MAX_BACKOFF_MS = 8_000;

export type Listed = { readonly accounts: readonly AccountId[]; readonly hasMore: boolean };

@Injectable({ providedIn: 'root' })
export class OverviewStore {
  readonly #client = inject(GatewayClient);
  #reading = false;
  #dueAt = 0;
  #failures = 0;

  /** The accounts of the latest response, which stay while reads fail. */
  readonly listed = signal<Listed | null>(null, {
    equal: (a, b) => JSON.stringify(a) === JSON.stringify(b),
  });
  readonly failed = signal(false);

  /** Reads the accounts if a read is due and none is running. Called every second while they are shown. */
  async refresh(): Promise<void> {
    if (this.#reading || this.#client.now() < this.#dueAt) return;
    this.#reading = true;
    try {
      const { accounts, next } = await this.#client.api.accounts('', MAX_ACCOUNTS);
      this.#failures = 0;
      this.listed.set({ accounts: accounts.map(({ account }) => account), hasMore: next !== null });
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
