import { ChangeDetectionStrategy, Component, computed, effect, inject, input } from '@angular/core';
import { toObservable, toSignal } from '@angular/core/rxjs-interop';
import { Title } from '@angular/platform-browser';
import { accountId } from '@livebalance/client';
import { filter, throttleTime } from 'rxjs';

import { Lazy } from '../frame/lazy';
import { wording } from '../wording';
import { AccountAddress } from './account-address';
import { AccountStore } from './account-store';
import { AmountFormat } from './amount-format';
import { ConnectionStatus } from './connection-status';
import { Summary } from './summary';
import { Transfers } from './transfers/transfers';

const format = new AmountFormat();
/** Shortest time between two titles: a browser takes milliseconds to show one. */
const TITLE_MS = 500;

/** The page of one account. */
@Component({
  selector: 'lb-account-page',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [ConnectionStatus, Lazy, Summary, Transfers],
  template: `
    <main class="account">
      @if (validId() === null) {
        <h1 class="visually-hidden" tabindex="-1">{{ id() }}</h1>
        <p class="notice" role="alert">{{ wording.invalidId(id()) }} {{ wording.invalidIdRule }}</p>
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
    const latest = computed(() => ({ id: account.id(), balance: account.state()?.balance ?? null }));
    const hasBalance = computed(() => latest().balance !== null);
    const throttled = toSignal(
      toObservable(latest).pipe(
        filter(({ balance }) => balance !== null),
        throttleTime(TITLE_MS, undefined, { leading: true, trailing: true }),
      ),
      { initialValue: latest() },
    );
    const text = computed(() => {
      // A balance that is not live, or of another account, leaves the title at once.
      const { id, balance } = throttled();
      const isLive = account.live() && hasBalance() && id === account.id() && balance !== null;
      const amount = isLive ? `${format.format(balance.amount, balance.currency)} · ` : '';
      return `${amount}${this.id()} · ${wording.product}`;
    });
    effect(() => {
      title.setTitle(text());
    });
  }
}
