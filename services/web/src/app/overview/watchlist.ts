import { ChangeDetectionStrategy, Component, computed, effect, inject } from '@angular/core';
import type { AccountId } from '@livebalance/client';

import { Amount } from '../account/amount';
import { AmountFormat } from '../account/amount-format';
import { Announcer } from '../frame/announcer';
import { shortcutKey } from '../frame/shortcuts';
import { wording } from '../wording';
import { LiveAccounts } from './live-accounts';
import { isLiveTotal, totalsOf } from './totals';
import { WatchRow } from './watch-row';
import { WatchlistStore } from './watchlist-store';

const format = new AmountFormat();

/** The watched accounts, each live, and the total of each currency. */
@Component({
  selector: 'lb-watchlist',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Amount, WatchRow],
  host: { '(document:keydown)': 'handleShortcut($event)' },
  templateUrl: './watchlist.html',
})
export class WatchlistView {
  readonly #live = inject(LiveAccounts);
  protected readonly watchlist = inject(WatchlistStore);
  protected readonly wording = wording.watchlist;
  protected readonly isLiveTotal = isLiveTotal;
  protected readonly rows = computed(() => {
    const rows = this.#live.rows();
    return this.watchlist
      .accounts()
      .map((account) => rows.get(account))
      .filter((row) => row !== undefined);
  });
  protected readonly totals = computed(() => totalsOf(this.rows()));

  readonly #announcer = inject(Announcer);
  readonly #spokenStates = computed(() => {
    const rows = this.rows();
    const notLive = rows.filter((row) => !row.live).length;
    return this.wording.spokenStates(rows.length, notLive, rows.filter((row) => row.disputed).length);
  });

  constructor() {
    effect(() => {
      this.#announcer.say('watchlist', this.#spokenStates());
    });
  }

  protected handleShortcut(event: KeyboardEvent): void {
    if (shortcutKey(event) !== 't') return;
    event.preventDefault();
    this.#announcer.answer(this.#spokenTotals());
  }

  #spokenTotals(): string {
    const { totals, missing } = this.totals();
    const sentences = totals.map((total) =>
      this.wording.spokenTotal(format.format(total.amount, total.currency), isLiveTotal(total, missing)),
    );
    return sentences.length === 0 ? this.wording.nothingToTotal : sentences.join(' ');
  }

  /** Moves the focus between the rows with the arrow keys, and removes a row with Delete. */
  protected handleKey(event: KeyboardEvent): void {
    if (!(event.target instanceof HTMLElement)) return;
    const row = event.target.closest<HTMLElement>('[data-watched]');
    if (row === null || event.ctrlKey || event.altKey || event.metaKey) return;
    const target = {
      ArrowDown: row.nextElementSibling,
      ArrowUp: row.previousElementSibling,
      Home: row.parentElement?.firstElementChild,
      End: row.parentElement?.lastElementChild,
    }[event.key];
    if (target instanceof HTMLElement) {
      event.preventDefault();
      target.querySelector('a')?.focus();
    } else if (event.key === 'Delete') {
      event.preventDefault();
      this.remove(row.dataset['watched'] as AccountId, row);
    }
  }

  /** Removes an account. The focus moves to the next row, so that the keyboard continues there. */
  protected remove(account: AccountId, row: HTMLElement): void {
    const next = row.nextElementSibling ?? row.previousElementSibling;
    const target = next?.querySelector('a') ?? document.querySelector<HTMLElement>('h1');
    target?.focus();
    this.watchlist.remove(account);
  }
}
