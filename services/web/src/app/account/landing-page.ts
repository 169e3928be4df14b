import {
  ChangeDetectionStrategy,
  Component,
  computed,
  effect,
  inject,
  linkedSignal,
  resource,
  untracked,
} from '@angular/core';
import { RouterLink } from '@angular/router';
import type { AccountListPage } from '@livebalance/client';

import { GatewayClient } from '../connection/gateway-client';
import { AccountSearch } from './account-search';
import { AccountStore } from './account-store';
import { Amount } from './amount';

const MAX_ACCOUNTS = 24;
const REFRESH_INTERVAL_MS = 5_000;

/** The start page: a search field and the first accounts with their balances. */
@Component({
  selector: 'lb-landing-page',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [AccountSearch, Amount, RouterLink],
  templateUrl: './landing-page.html',
})
export class LandingPage {
  readonly #client = inject(GatewayClient);
  readonly #refreshCount = computed(() => Math.floor(this.#client.time() / REFRESH_INTERVAL_MS));
  readonly #accounts = resource({
    loader: ({ abortSignal }) => this.#client.api.accounts('', MAX_ACCOUNTS, abortSignal),
  });
  /** The latest response, which stays while the next request runs. */
  protected readonly latest = linkedSignal<AccountListPage | undefined, AccountListPage | undefined>({
    source: () => (this.#accounts.hasValue() ? this.#accounts.value() : undefined),
    computation: (page, previous) => page ?? previous?.value,
  });
  protected readonly failed = computed(() => this.#accounts.error() !== undefined);

  constructor() {
    const account = inject(AccountStore);
    effect(() => {
      account.follow(null);
    });
    effect(() => {
      this.#refreshCount();
      untracked(() => {
        // A read in progress goes on: without any gateway, its answer comes later than the next refresh.
        if (!this.#accounts.isLoading()) this.#accounts.reload();
      });
    });
  }
}
