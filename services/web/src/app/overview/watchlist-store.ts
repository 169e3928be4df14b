import { Injectable, computed, inject, signal } from '@angular/core';
import { NavigationEnd, Router } from '@angular/router';
import type { AccountId } from '@livebalance/client';

import { parseAccounts, parseFragment, toFragment, type Watchlist } from './watchlist-address';

/** The watched accounts. The address of the overview is where they are kept: see `watchlist-address.ts`. */
@Injectable({ providedIn: 'root' })
export class WatchlistStore {
  readonly #router = inject(Router);
  readonly #watchlist = signal<Watchlist>({ accounts: [], ignored: 0 });

  readonly accounts = computed(() => this.#watchlist().accounts);
  readonly ignored = computed(() => this.#watchlist().ignored);
  readonly #members = computed(() => new Set<string>(this.accounts()));
  /** The fragment of the overview's address, for links back to it. */
  readonly fragment = computed(() => toFragment(this.accounts()));

  constructor() {
    this.#read();
    this.#router.events.subscribe((event) => {
      if (event instanceof NavigationEnd) this.#read();
    });
  }

  has(account: string): boolean {
    return this.#members().has(account);
  }

  /** Adds each account that a text names. Returns how many entries were left out; null if it names no account. */
  add(text: string): number | null {
    const named = parseAccounts(text);
    if (named.accounts.length === 0) return null;
    const all = [...this.accounts(), ...named.accounts];
    this.#write(all);
    return named.ignored + parseAccounts(all.join(',')).ignored;
  }

  toggle(account: AccountId): void {
    if (this.has(account)) this.remove(account);
    else this.#write([...this.accounts(), account]);
  }

  remove(account: AccountId): void {
    this.#write(this.accounts().filter((watched) => watched !== account));
  }

  /** Reads the address of the overview. Other pages leave the watchlist as it is. */
  #read(): void {
    const { root, fragment } = this.#router.parseUrl(this.#router.url);
    if (root.numberOfChildren === 0) this.#watchlist.set(parseFragment(fragment));
  }

  #write(accounts: readonly AccountId[]): void {
    const fragment = toFragment(parseAccounts(accounts.join(',')).accounts);
    const options = fragment === undefined ? {} : { fragment };
    void this.#router.navigate(['/'], { ...options, replaceUrl: this.#isOverview(), scroll: 'manual' });
  }

  #isOverview(): boolean {
    return this.#router.parseUrl(this.#router.url).root.numberOfChildren === 0;
  }
}
