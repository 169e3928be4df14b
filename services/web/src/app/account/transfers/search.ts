/** The transfers that pass the filter of the address, page by page. */

import { Injectable, computed, effect, inject, signal, untracked } from '@angular/core';
import {
  Unavailable,
  type Loading,
  type Revision,
  type SearchPage,
  type Transfer,
} from '@livebalance/client';

import { GatewayClient } from '../../connection/gateway-client';
import { AccountAddress } from '../account-address';
import { AccountStore } from '../account-store';
import { Today } from '../today';
import { isEmpty, isImpossible, passes, queryOf } from './filter';

const PAGE_ROWS = 200;

type Result = {
  readonly rows: readonly Transfer[];
  /** The account's revision that the rows include. Later transfers arrive live. */
  readonly revision: Revision;
  readonly next: string | null;
};

const NOTHING: Result = { rows: [], revision: 0 as Revision, next: null };

@Injectable({ providedIn: 'root' })
export class TransferSearch {
  readonly #api = inject(GatewayClient).api;
  readonly #account = inject(AccountStore);
  readonly #today = inject(Today).date;
  readonly filter = inject(AccountAddress).filter;
  readonly isActive = computed(() => !isEmpty(this.filter()));
  readonly status = signal<Loading>('idle');
  readonly #result = signal<Result | null>(null);
  #reading = new AbortController();

  /**
   * A search begins again with each snapshot: transfers can have been erased, or be missing above it. With a first
   * or last day it begins again each day: transfers that arrive live count as recorded when they arrive.
   */
  readonly #subject = computed(
    () => {
      const [account, state] = [this.#account.id(), this.#account.state()];
      if (account === null || state === null || !this.isActive()) return null;
      const { from, to } = this.filter();
      const today = from === null && to === null ? null : this.#today();
      const query = queryOf(this.filter());
      return { account, epoch: state.epoch, snapshot: state.highlightAbove, query, today };
    },
    { equal: (a, b) => JSON.stringify(a) === JSON.stringify(b) },
  );

  /** The transfers that pass, newest first; null until there is a result. */
  readonly rows = computed(() => {
    const result = this.#result();
    if (result === null) return null;
    const now = Date.now();
    const live = this.#rowsAfter(result.revision).filter((row) => passes(this.filter(), row, now));
    return live.length === 0 ? result.rows : [...live, ...result.rows];
  });
  readonly isComplete = computed(() => this.#result()?.next === null);

  constructor() {
    effect(() => {
      this.#subject();
      untracked(() => {
        this.#begin();
      });
    });
    // What has passed stays, also when the account's state drops its oldest rows.
    effect(() => {
      const [rows, state] = [this.rows(), this.#account.state()];
      untracked(() => {
        const result = this.#result();
        if (result === null || rows === null || state?.missing !== null) return;
        if (isImpossible(this.filter()) || state.revision <= result.revision) return;
        const { older, revision } = state;
        // More transfers have arrived at once than the state keeps.
        if (older.kind === 'below' && older.revision > result.revision + 1) this.#begin();
        else this.#result.set({ ...result, rows, revision });
      });
    });
  }

  #begin(): void {
    this.#result.set(isImpossible(this.filter()) ? NOTHING : null);
    this.#reading.abort();
    this.status.set('idle');
    void this.loadMore();
  }

  /** Loads transfers until there are more than now, or all are loaded. */
  async loadMore(): Promise<void> {
    const subject = this.#subject();
    if (subject === null || this.isComplete() || this.status() === 'loading') return;
    const reading = (this.#reading = new AbortController());
    this.status.set('loading');
    try {
      let page: SearchPage;
      do {
        const cursor = this.#result()?.next ?? null;
        const query = {
          ...subject.query,
          limit: `${PAGE_ROWS}`,
          ...(cursor === null ? {} : { cursor }),
        };
        page = await this.#api.search(subject.account, query, reading.signal);
        if (reading.signal.aborted) return;
        if (page.epoch !== subject.epoch) throw new Unavailable('the epoch has changed');
        const result = this.#result(); // transfers may have arrived meanwhile
        this.#result.set({
          rows: [...(result?.rows ?? []), ...page.transfers],
          revision: result?.revision ?? page.revision,
          next: page.next,
        });
      } while (page.next !== null && page.transfers.length === 0);
      this.status.set('idle');
    } catch (error) {
      if (reading.signal.aborted) return;
      if (!(error instanceof Unavailable)) throw error;
      this.status.set('failed');
    }
  }

  /** Downloads all transfers that pass as a CSV file. */
  async download(): Promise<void> {
    const account = this.#account.id();
    if (account === null) return;
    const file = await this.#api.searchCsv(account, queryOf(this.filter()));
    const link = document.createElement('a');
    link.href = URL.createObjectURL(file);
    link.download = `${account}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  #rowsAfter(revision: Revision): readonly Transfer[] {
    const rows = this.#account.state()?.rows ?? [];
    const end = rows.findIndex((row) => row.revision <= revision);
    return end < 0 ? rows : rows.slice(0, end);
  }
}
