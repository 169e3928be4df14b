/** The followed account: its state as a signal, and the REST reads that complete it. */

import { Injectable, computed, inject, signal } from '@angular/core';

import { GatewayClient } from '../connection/gateway-client';
import { isForbidden } from '../connection/session-state';
import type { AccountId } from '../wire/identity';
import { Unavailable, fetchOlderTransfers, fetchTransfersAfter } from './account-api';
import {
  WINDOW,
  applyFrame,
  windowBelow,
  withMissing,
  withOlder,
  withWindow,
  type AccountState,
  type Older,
} from './account-state';

type Loading = 'idle' | 'loading' | 'failed';

@Injectable({ providedIn: 'root' })
export class AccountStore {
  readonly #client = inject(GatewayClient);
  readonly #state = signal<AccountState | null>(null);

  readonly id = signal<AccountId | null>(null);
  readonly older = signal<Loading>('idle');
  readonly missing = signal<Loading>('idle');
  /** The state, or null if there is none yet or the user may no longer see the account. */
  readonly state = computed(() => (this.forbidden() ? null : this.#state()));
  readonly forbidden = computed(() => isForbidden(this.#client.session()));

  constructor() {
    this.#client.frames.subscribe((frame) => {
      this.#state.update((state) => applyFrame(state, frame));
      void this.loadMissing();
    });
  }

  follow(id: AccountId | null): void {
    if (id === this.id()) return;
    this.id.set(id);
    this.#state.set(null);
    this.older.set('idle');
    this.missing.set('idle');
    this.#client.follow(id);
  }

  /** Loads one page of older transfers. */
  async loadOlder(): Promise<void> {
    const [account, requested] = [this.id(), this.#state()?.older];
    if (account === null || requested === undefined || this.older() === 'loading') return;
    await this.#load(account, this.older, () => fetchOlder(account, requested));
  }

  /** Loads the transfers of a gap, page by page, oldest first. `retryMissing` continues after a failure. */
  async loadMissing(): Promise<void> {
    const [account, requested] = [this.id(), this.#state()?.missing ?? null];
    if (account === null || requested === null || this.missing() !== 'idle') return;
    const loaded = await this.#load(account, this.missing, async () => {
      const page = await fetchTransfersAfter(account, requested.from, WINDOW);
      return (state) => withMissing(state, requested, page);
    });
    if (loaded) await this.loadMissing();
  }

  async retryMissing(): Promise<void> {
    this.missing.set('idle');
    await this.loadMissing();
  }

  /** Fetches a change and applies it. Returns false if that failed or the user left the account. */
  async #load(
    account: AccountId,
    loading: typeof this.older,
    fetchChange: () => Promise<(state: AccountState) => AccountState>,
  ): Promise<boolean> {
    loading.set('loading');
    try {
      const change = await fetchChange();
      if (account !== this.id()) return false;
      this.#state.update((state) => (state === null ? null : change(state)));
      loading.set('idle');
      return true;
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error;
      if (account === this.id()) loading.set('failed');
      return false;
    }
  }
}

async function fetchOlder(
  account: AccountId,
  requested: Older,
): Promise<(state: AccountState) => AccountState> {
  switch (requested.kind) {
    case 'none':
      return (state) => state;
    case 'cursor': {
      const page = await fetchOlderTransfers(account, requested.cursor);
      return (state) => withOlder(state, requested, page);
    }
    case 'below': {
      const page = await fetchTransfersAfter(account, windowBelow(requested.revision), WINDOW);
      return (state) => withWindow(state, requested, page);
    }
  }
}
