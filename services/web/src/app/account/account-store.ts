/** The followed account: its state as a signal, and the REST reads that complete it. */

import { Injectable, computed, effect, inject, signal } from '@angular/core';
import { NavigationStart, Router } from '@angular/router';

import { GatewayClient } from '../connection/gateway-client';
import { isForbidden } from '../connection/session-state';
import type { AccountId, Position, Revision } from '../wire/identity';
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
import { connectionText } from './connection-text';

type Loading = 'idle' | 'loading' | 'failed';
type View = { readonly state: AccountState; readonly heldAt: Revision | null };

/** Number of accounts whose rows stay when the user leaves them, so that going back shows them again. */
const MAX_KEPT_ACCOUNTS = 8;
/** Time in which the browser restores a place, once its page is rendered. */
const RESTORE_MS = 1_000;

@Injectable({ providedIn: 'root' })
export class AccountStore {
  readonly #client = inject(GatewayClient);
  readonly #state = signal<AccountState | null>(null);
  /** What the user has left, the latest last. */
  readonly #kept = new Map<AccountId, View>();
  /** The user goes back or forward, to a place in the page. A link leads to the top, where nothing is held. */
  #isReturning = false;
  #restoreTimer: ReturnType<typeof setTimeout> | undefined;

  readonly id = signal<AccountId | null>(null);
  /** The account that was shown before this page. */
  readonly previousId = signal<AccountId | null>(null);
  readonly older = signal<Loading>('idle');
  readonly missing = signal<Loading>('idle');
  /** Rows above this revision are held back while the user reads; null if all rows are shown. */
  readonly heldAt = signal<Revision | null>(null);
  /** The user has just come back to kept rows, and the browser restores the place in them. */
  readonly restoring = signal(false);
  /** The state, or null if there is none yet or the user may no longer see the account. */
  readonly state = computed(() => (this.forbidden() ? null : this.#state()));
  readonly forbidden = computed(() => isForbidden(this.#client.session()));
  /** The state is confirmed to be up to date. If it is not, its figures must not look live. */
  readonly live = computed(
    () => connectionText(this.#client.session(), this.#client.time()).state === 'live',
  );

  constructor() {
    this.#client.frames.subscribe((frame) => {
      if (frame.epoch !== this.#state()?.epoch) this.release(); // other revisions
      this.#state.update((state) => applyFrame(state, frame));
      void this.loadMissing();
    });
    inject(Router).events.subscribe((event) => {
      if (event instanceof NavigationStart) this.#isReturning = event.navigationTrigger === 'popstate';
    });
    effect(() => {
      if (this.forbidden()) this.#kept.clear(); // the rights of the user have changed
    });
  }

  follow(id: AccountId | null): void {
    const left = this.id();
    if (id === left) return;
    this.#keep(left);
    this.previousId.set(left);
    const view = id === null ? undefined : this.#kept.get(id);
    this.id.set(id);
    this.#state.set(view?.state ?? null);
    this.heldAt.set(this.#isReturning ? (view?.heldAt ?? null) : null);
    this.restoring.set(this.#isReturning && view !== undefined);
    clearTimeout(this.#restoreTimer);
    this.#restoreTimer = setTimeout(() => {
      this.restoring.set(false);
    }, RESTORE_MS);
    this.older.set('idle');
    this.missing.set('idle');
    this.#client.follow(id, view === undefined ? null : positionOf(view.state));
    if (view !== undefined) void this.loadMissing();
  }

  /** Holds back rows that arrive from now on, so that the shown rows do not move. */
  hold(): void {
    const revision = this.#state()?.rows[0]?.revision;
    if (revision !== undefined) this.heldAt.update((heldAt) => heldAt ?? revision);
  }

  /** Shows all rows. */
  release(): void {
    this.heldAt.set(null);
  }

  #keep(left: AccountId | null): void {
    const state = this.state();
    if (left === null || state === null) return;
    this.#kept.delete(left);
    this.#kept.set(left, { state, heldAt: this.heldAt() });
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > MAX_KEPT_ACCOUNTS && oldest !== undefined) this.#kept.delete(oldest);
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

function positionOf({ epoch, revision }: AccountState): Position {
  return { epoch, revision };
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
