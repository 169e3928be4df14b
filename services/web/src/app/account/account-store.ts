/** The followed account as signals, and what is shown again when the user comes back to an account. */

import { Injectable, computed, effect, inject, signal } from '@angular/core';
import { NavigationStart, Router } from '@angular/router';
import type { AccountId, AccountState, Position } from '@livebalance/client';

import { GatewayClient } from '../connection/gateway-client';
import { connectionText } from './connection-text';

type Kept = { readonly state: AccountState; readonly held: Position | null };

/** Number of accounts whose rows stay when the user leaves them, so that going back shows them again. */
const MAX_KEPT_ACCOUNTS = 8;

@Injectable({ providedIn: 'root' })
export class AccountStore {
  readonly #client = inject(GatewayClient);
  readonly #view = this.#client.view;
  /** What the user has left, the latest last. */
  readonly #kept = new Map<AccountId, Kept>();
  readonly #held = signal<Position | null>(null);
  /** The user goes back or forward, to a place in the page. A link leads to the top, where nothing is held. */
  #isReturning = false;

  readonly id = signal<AccountId | null>(null);
  /** The account that was shown before this page. */
  readonly previousId = signal<AccountId | null>(null);
  readonly older = computed(() => this.#view()?.older ?? 'idle');
  readonly missing = computed(() => this.#view()?.missing ?? 'idle');
  /** The state, or null if there is none yet or the user may no longer see the account. */
  readonly state = computed(() => this.#view()?.state ?? null);
  readonly forbidden = computed(() => this.#view()?.forbidden ?? false);
  /** Rows above this revision are held back while the user reads; null if all rows are shown. */
  readonly heldAt = computed(() => {
    const held = this.#held();
    return held !== null && held.epoch === this.state()?.epoch ? held.revision : null;
  });
  /** The state is confirmed to be up to date. If it is not, its figures must not look live. */
  readonly live = computed(
    () => connectionText(this.#client.session(), this.#client.time()).state === 'live',
  );

  constructor() {
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
    const kept = id === null ? undefined : this.#kept.get(id);
    this.previousId.set(left);
    this.id.set(id);
    this.#held.set(this.#isReturning ? (kept?.held ?? null) : null);
    this.#client.follow(id, kept?.state);
  }

  /** Holds back rows that arrive from now on, so that the shown rows do not move. */
  hold(): void {
    const state = this.state();
    const revision = state?.rows[0]?.revision;
    if (this.heldAt() === null && state !== null && revision !== undefined)
      this.#held.set({ epoch: state.epoch, revision });
  }

  /** Shows all rows. */
  release(): void {
    this.#held.set(null);
  }

  loadOlder(): Promise<void> {
    return this.#client.loadOlder();
  }

  retryMissing(): Promise<void> {
    return this.#client.retryMissing();
  }

  #keep(left: AccountId | null): void {
    const state = this.state();
    if (left === null || state === null) return;
    this.#kept.delete(left);
    this.#kept.set(left, { state, held: this.#held() });
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > MAX_KEPT_ACCOUNTS && oldest !== undefined) this.#kept.delete(oldest);
  }
}
