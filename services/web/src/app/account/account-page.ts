import { ChangeDetectionStrategy, Component, computed, effect, inject, input } from '@angular/core';
import { Title } from '@angular/platform-browser';
import { accountId } from '@livebalance/client';

import { AccountSearch } from './account-search';
import { AccountStore } from './account-store';
import { AmountFormat } from './amount-format';
import { ConnectionStatus } from './connection-status';
import { Summary } from './summary';
import { Transfers } from './transfers';

const format = new AmountFormat();

/** The page of one account. */
@Component({
  selector: 'lb-account-page',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [AccountSearch, ConnectionStatus, Summary, Transfers],
  template: `
    <main class="account">
      @if (validId() === null) {
        <p class="notice" role="alert">
          “{{ id() }}” is not a valid account id. An account id consists of 1 to 64 letters, digits, dots,
          dashes or underscores.
        </p>
        <lb-account-search [wide]="true" />
      } @else {
        <section class="card summary" aria-labelledby="account-title">
          <div class="top">
            <h1 id="account-title" data-testid="account">{{ id() }}</h1>
            <lb-connection-status />
          </div>
          @if (!account.forbidden()) {
            <lb-summary />
          }
        </section>
        @if (!account.forbidden()) {
          <lb-transfers />
        }
      }
    </main>
  `,
})
export class AccountPage {
  /** The account id in the URL, which can be invalid. */
  readonly id = input.required<string>();
  protected readonly validId = computed(() => accountId(this.id()));

  protected readonly account = inject(AccountStore);

  constructor() {
    const account = this.account;
    const title = inject(Title);
    effect(() => {
      account.follow(this.validId());
    });
    effect(() => {
      const balance = account.state()?.balance ?? null;
      const amount = balance === null ? '' : `${format.format(balance.amount, balance.currency)} · `;
      title.setTitle(`${amount}${this.id()} · Livebalance`);
    });
  }
}
