import {
  ChangeDetectionStrategy,
  Component,
  DestroyRef,
  computed,
  effect,
  inject,
  untracked,
} from '@angular/core';
import { RouterLink } from '@angular/router';
import { millis, type AccountId } from '@livebalance/client';

import { AccountSearch } from '../account/account-search';
import { AccountStore } from '../account/account-store';
import { Amount } from '../account/amount';
import { overviewText, type ConnectionText } from '../account/connection-text';
import { formatMoment } from '../account/dates';
import { StatusPill } from '../account/status-pill';
import { Today } from '../account/today';
import { GatewayClient } from '../connection/gateway-client';
import { wording } from '../wording';
import { LiveAccounts } from './live-accounts';
import { OverviewStore } from './overview-store';
import { WatchlistView } from './watchlist';
import { WatchlistStore } from './watchlist-store';

const DISCONNECTED: ReadonlySet<ConnectionText['state']> = new Set(['ended', 'reconnecting']);

/** The start page: a search field, the watched accounts, and the first accounts, each live. */
@Component({
  selector: 'lb-landing-page',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [AccountSearch, Amount, RouterLink, StatusPill, WatchlistView],
  templateUrl: './landing-page.html',
})
export class LandingPage {
  readonly #today = inject(Today).date;
  protected readonly live = inject(LiveAccounts);
  protected readonly watchlist = inject(WatchlistStore);
  protected readonly wording = wording.overview;
  protected readonly reconnectNow = wording.connection.reconnectNow;
  protected readonly overview = inject(OverviewStore);
  /** The account that the user comes back from. */
  protected readonly returnedFrom: string | null;
  protected readonly cards = computed(() => {
    const rows = this.live.rows();
    return (
      this.overview.listed()?.accounts.map((account) => ({ account, row: rows.get(account) ?? null })) ?? null
    );
  });
  /** The state of all rows: that of the first row that is not live, or how recent they are. */
  protected readonly freshness = computed(() => {
    const asOf = this.live.asOf();
    const time = asOf === null ? null : formatMoment(millis(asOf), this.#today());
    const text = overviewText(time, this.live.age());
    if (text.state === 'stalled') return text;
    const rows = [...this.live.rows().values()].filter(({ status }) => status.state !== 'rejected');
    return rows.find((row) => !row.live)?.status ?? text;
  });
  /** A connection has ended, or waits for the next attempt. */
  protected readonly isDisconnected = computed(() =>
    [...this.live.rows().values()].some(({ status }) => DISCONNECTED.has(status.state)),
  );

  constructor() {
    const account = inject(AccountStore);
    const client = inject(GatewayClient);
    account.follow(null);
    this.returnedFrom = account.previousId();
    effect(() => {
      client.time();
      untracked(() => void this.overview.refresh());
    });
    effect(() => {
      const accounts: AccountId[] = [
        ...this.watchlist.accounts(),
        ...(this.overview.listed()?.accounts ?? []),
      ];
      untracked(() => {
        this.live.follow(accounts);
      });
    });
    inject(DestroyRef).onDestroy(() => {
      this.live.follow([]);
    });
  }
}
