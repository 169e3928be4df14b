import { ChangeDetectionStrategy, Component, computed, effect, inject, input } from '@angular/core';
import { Title } from '@angular/platform-browser';

import { accountId } from '../wire/identity';
import { AmountFormat } from './amount';
import { Choose } from './choose';
import { ConnectionState } from './connection-state';
import { Account } from './store';
import { Summary } from './summary';
import { Transfers } from './transfers';

const format = new AmountFormat();

@Component({
  selector: 'lb-account-page',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Choose, ConnectionState, Summary, Transfers],
  template: `
    <main class="account">
      @if (known() === null) {
        <p class="notice" role="alert">
          “{{ id() }}” is no account id: 1 to 64 letters, digits, dots, dashes or underscores.
        </p>
        <lb-choose [wide]="true" />
      } @else {
        <section class="card summary" aria-labelledby="account-title">
          <div class="top">
            <h1 id="account-title" data-testid="account">{{ id() }}</h1>
            <lb-connection-state />
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
  /** From the address. */
  readonly id = input.required<string>();
  protected readonly known = computed(() => accountId(this.id()));

  protected readonly account = inject(Account);

  constructor() {
    const account = this.account;
    const title = inject(Title);
    effect(() => {
      account.follow(this.known());
    });
    effect(() => {
      const balance = account.ledger()?.balance ?? null;
      const amount = balance === null ? '' : `${format.write(balance.amount, balance.currency)} · `;
      title.setTitle(`${amount}${this.id()} · Livebalance`);
    });
  }
}
