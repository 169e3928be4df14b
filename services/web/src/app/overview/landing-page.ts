import { ChangeDetectionStrategy, Component, computed, effect, inject, untracked } from '@angular/core';
import { RouterLink } from '@angular/router';
import { millis } from '@livebalance/client';

import { AccountSearch } from '../account/account-search';
import { AccountStore } from '../account/account-store';
import { Amount } from '../account/amount';
import { overviewText } from '../account/connection-text';
import { formatMoment } from '../account/dates';
import { StatusPill } from '../account/status-pill';
import { Today } from '../account/today';
import { GatewayClient } from '../connection/gateway-client';
import { wording } from '../wording';
import { OverviewStore } from './overview-store';

/** The start page: a search field and the first accounts with their balances, and how fresh these are. */
@Component({
  selector: 'lb-landing-page',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [AccountSearch, Amount, RouterLink, StatusPill],
  templateUrl: './landing-page.html',
})
export class LandingPage {
  readonly #today = inject(Today).date;
  protected readonly wording = wording.overview;
  protected readonly overview = inject(OverviewStore);
  /** The account that the user comes back from. */
  protected readonly returnedFrom: string | null;
  protected readonly freshness = computed(() => {
    const asOf = this.overview.asOf();
    const time = asOf === null ? null : formatMoment(millis(asOf), this.#today());
    return overviewText(time, this.overview.age());
  });

  constructor() {
    const account = inject(AccountStore);
    const client = inject(GatewayClient);
    account.follow(null);
    this.returnedFrom = account.previousId();
    effect(() => {
      client.time();
      untracked(() => void this.overview.refresh());
    });
  }
}
