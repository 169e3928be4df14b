import {
  ChangeDetectionStrategy,
  Component,
  computed,
  effect,
  inject,
  linkedSignal,
  resource,
} from '@angular/core';
import { RouterLink } from '@angular/router';

import { Connection } from '../connection/connection';
import type { AccountPage } from '../wire/frame';
import { Amount } from './amount-text';
import { Choose } from './choose';
import { readAccounts } from './rest';
import { Account } from './store';

const SHOWN = 24;
const READ_EVERY_MS = 5_000;

/** No account chosen yet: the first accounts with their balances, to pick one. */
@Component({
  selector: 'lb-landing',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Amount, Choose, RouterLink],
  templateUrl: './landing.html',
})
export class Landing {
  readonly #time = inject(Connection).time;
  readonly #round = computed(() => Math.floor(this.#time() / READ_EVERY_MS));
  protected readonly page = resource({
    params: () => this.#round(),
    loader: ({ abortSignal }) => readAccounts('', SHOWN, abortSignal),
  });
  /** The last answer, also while the next is on its way. */
  protected readonly last = linkedSignal<AccountPage | undefined, AccountPage | undefined>({
    source: () => (this.page.hasValue() ? this.page.value() : undefined),
    computation: (page, before) => page ?? before?.value,
  });
  protected readonly failed = computed(() => this.page.error() !== undefined);

  constructor() {
    const account = inject(Account);
    effect(() => {
      account.follow(null);
    });
  }
}
