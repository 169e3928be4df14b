import {
  ChangeDetectionStrategy,
  Component,
  computed,
  effect,
  inject,
  input,
  linkedSignal,
  signal,
} from '@angular/core';
import { Router } from '@angular/router';
import { Unavailable, type AccountId } from '@livebalance/client';

import { GatewayClient } from '../connection/gateway-client';
import { WatchlistStore } from '../overview/watchlist-store';
import { wording } from '../wording';
import { linkedAccountId } from './address';
import { addRecentAccount, recentAccounts } from './recent-accounts';

const MAX_SUGGESTIONS = 8;

/** Without an amount: an amount must be live, or say how old it is. */
type Suggestion = { readonly account: AccountId; readonly recent: boolean };
type Offered = {
  readonly text: string;
  readonly open: boolean;
  readonly suggestions: readonly Suggestion[];
};

/** A search field for accounts, with suggestions for keyboard and pointer (ARIA combobox). */
@Component({
  selector: 'lb-account-search',
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './account-search.html',
})
export class AccountSearch {
  protected readonly wording = wording.search;
  readonly wide = input(false);

  readonly #router = inject(Router);
  readonly #api = inject(GatewayClient).api;
  readonly #watchlist = inject(WatchlistStore);
  protected readonly text = signal('');
  protected readonly open = signal(false);
  protected readonly error = signal('');

  /** The accounts of the latest response. They stay until the next, so that the list does not flicker. */
  readonly #matches = signal<readonly AccountId[]>([]);
  protected readonly suggestions = computed<readonly Suggestion[]>(() => {
    const prefix = this.text().trim();
    const recent = this.open() ? recentAccounts().filter((account) => account.startsWith(prefix)) : [];
    const others = this.#matches().filter((account) => !recent.includes(account));
    const suggestions = [
      ...recent.map((account) => ({ account, recent: true })),
      ...others.map((account) => ({ account, recent: false })),
    ];
    return suggestions.slice(0, MAX_SUGGESTIONS);
  });
  readonly #offered = computed(() => ({
    text: this.text(),
    open: this.open(),
    suggestions: this.suggestions(),
  }));
  /** Index of the selected suggestion; -1 while the text is selected. A response that arrives keeps the selection. */
  protected readonly active = linkedSignal<Offered, number>({
    source: this.#offered,
    computation: (offered, previous) => {
      const before = previous?.source;
      if (before?.text !== offered.text || before.open !== offered.open) return -1;
      const selected = before.suggestions[previous?.value ?? -1]?.account;
      return offered.suggestions.findIndex(({ account }) => account === selected);
    },
  });
  protected readonly expanded = computed(() => this.open() && this.suggestions().length > 0);

  constructor() {
    effect((onCleanup) => {
      if (!this.open()) return;
      const reading = new AbortController();
      onCleanup(() => {
        reading.abort();
      });
      void this.#read(this.text().trim(), reading.signal);
    });
  }

  protected changeText(text: string): void {
    this.text.set(text);
    this.error.set('');
    this.open.set(true);
  }

  protected handleKey(event: KeyboardEvent): void {
    const actions: Readonly<Record<string, () => void>> = {
      ArrowDown: () => {
        this.#moveSelection(1);
      },
      ArrowUp: () => {
        this.#moveSelection(-1);
      },
      Escape: () => {
        this.open.set(false);
      },
    };
    const action = actions[event.key];
    if (action === undefined) return;
    event.preventDefault();
    action();
  }

  protected submit(event: Event): void {
    event.preventDefault();
    const selected = this.expanded() ? this.suggestions()[this.active()]?.account : undefined;
    const id = selected ?? linkedAccountId(this.text().trim());
    if (id === null) this.error.set(this.wording.invalid);
    else this.showAccount(id);
  }

  /** Adds the selected account, or each account that the text names, to the watchlist. */
  protected watch(): void {
    const selected = this.expanded() ? this.suggestions()[this.active()]?.account : undefined;
    const ignored = this.#watchlist.add(selected ?? this.text());
    if (ignored !== null) this.changeText('');
    if (ignored === null) this.error.set(this.wording.invalid);
    else if (ignored > 0) this.error.set(this.wording.ignored(ignored));
    this.open.set(false);
  }

  protected showAccount(id: AccountId): void {
    addRecentAccount(id);
    this.text.set('');
    this.open.set(false);
    void this.#router.navigate(['/accounts', id]);
  }

  #moveSelection(by: 1 | -1): void {
    this.open.set(true);
    const count = this.suggestions().length + 1; // the text counts as a choice, too
    this.active.update((active) => ((active + 1 + by + count) % count) - 1);
  }

  async #read(prefix: string, signal: AbortSignal): Promise<void> {
    try {
      const { accounts } = await this.#api.accounts(prefix, MAX_SUGGESTIONS, signal);
      if (!signal.aborted) this.#matches.set(accounts.map(({ account }) => account));
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error; // suggestions are a help, so nothing says that they are missing
    }
  }
}
