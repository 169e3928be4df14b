import { ChangeDetectionStrategy, Component, computed, effect, inject, input } from '@angular/core';
import { Title } from '@angular/platform-browser';
import { accountId } from '@livebalance/client';

import { wording } from '../wording';
import { AccountAddress } from './account-address';
import { AccountSearch } from './account-search';
import { AccountStore } from './account-store';
import { AmountFormat } from './amount-format';
import { ConnectionStatus } from './connection-status';
import { Lazy } from './lazy';
import { Summary } from './summary';
import { Transfers } from './transfers/transfers';

const format = new AmountFormat();

/** The page of one account. */
@Component({
  selector: 'lb-account-page',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [AccountSearch, ConnectionStatus, Lazy, Summary, Transfers],
  template: `
    <main class="account">
      @if (validId() === null) {
        <h1 class="visually-hidden" tabindex="-1">{{ id() }}</h1>
        <p class="notice" role="alert">{{ wording.invalidId(id()) }} {{ wording.invalidIdRule }}</p>
        <lb-account-search [wide]="true" />
      } @else {
        <section class="card summary" aria-labelledby="account-title">
          <div class="top">
            <h1 id="account-title" data-testid="account" tabindex="-1">{{ id() }}</h1>
            <lb-connection-status />
          </div>
          @if (unknown()) {
            <p class="unknown" data-testid="unknown">
              <strong>{{ wording.unknownTitle(id()) }}</strong> {{ wording.unknown }}
            </p>
          } @else if (!account.forbidden()) {
            <lb-summary>
              @if (hasChart()) {
                <div class="chart-place">
                  <lb-lazy [load]="chart" />
                </div>
              }
            </lb-summary>
          }
        </section>
        @if (!account.forbidden() && !unknown()) {
          <lb-transfers />
        }
        @if (address.transfer() !== null) {
          <lb-lazy [load]="drawer" />
        }
      }
    </main>
  `,
})
export class AccountPage {
  /** The account id in the URL, which can be invalid. */
  readonly id = input.required<string>();
  protected readonly validId = computed(() => accountId(this.id()));

  protected readonly wording = wording.account;
  protected readonly account = inject(AccountStore);
  /** Nothing was ever recorded for this account: at revision 0 there is neither a balance nor a transfer. */
  protected readonly unknown = computed(() => this.account.state()?.revision === 0);

  protected readonly address = inject(AccountAddress);
  /** One transfer makes no line. */
  protected readonly hasChart = computed(() => (this.account.state()?.rows.length ?? 0) > 1);
  protected readonly chart = async () => (await import('./chart/balance-chart')).BalanceChart;
  protected readonly drawer = async () => (await import('./drawer/transfer-drawer')).TransferDrawer;

  constructor() {
    const account = this.account;
    const title = inject(Title);
    effect(() => {
      account.follow(this.validId());
    });
    effect(() => {
      const balance = account.live() ? (account.state()?.balance ?? null) : null;
      const amount = balance === null ? '' : `${format.format(balance.amount, balance.currency)} · `;
      title.setTitle(`${amount}${this.id()} · ${wording.product}`);
    });
  }
}
