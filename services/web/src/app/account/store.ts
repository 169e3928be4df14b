/** The account on the page: its ledger as a signal, and the reads that complete it. */

import { Injectable, computed, inject, signal } from '@angular/core';

import { Connection } from '../connection/connection';
import { isForbidden } from '../connection/state';
import type { AccountId } from '../wire/identity';
import {
  WINDOW,
  show,
  windowBelow,
  withMissing,
  withOlder,
  withWindow,
  type Ledger,
  type Older,
} from './ledger';
import { Unavailable, readAfter, readOlder } from './rest';

type Loading = 'idle' | 'reading' | 'failed';

@Injectable({ providedIn: 'root' })
export class Account {
  readonly #connection = inject(Connection);
  readonly #ledger = signal<Ledger | null>(null);

  readonly id = signal<AccountId | null>(null);
  readonly older = signal<Loading>('idle');
  readonly missing = signal<Loading>('idle');
  /** Hidden as soon as the gateway says that it is not for this reader any more. */
  readonly ledger = computed(() => (this.forbidden() ? null : this.#ledger()));
  readonly forbidden = computed(() => isForbidden(this.#connection.state()));

  constructor() {
    this.#connection.shown.subscribe((frame) => {
      this.#ledger.update((ledger) => show(ledger, frame));
      void this.fillMissing();
    });
  }

  follow(id: AccountId | null): void {
    if (id === this.id()) return;
    this.id.set(id);
    this.#ledger.set(null);
    this.older.set('idle');
    this.missing.set('idle');
    this.#connection.follow(id);
  }

  /** One page of older transfers. */
  async readOlder(): Promise<void> {
    const [account, asked] = [this.id(), this.#ledger()?.older];
    if (account === null || asked === undefined || this.older() === 'reading') return;
    await this.#read(account, this.older, () => pageBelow(account, asked));
  }

  /** What a gap left out, page by page, lowest first; after a failure only when asked. */
  async fillMissing(): Promise<void> {
    const [account, asked] = [this.id(), this.#ledger()?.missing ?? null];
    if (account === null || asked === null || this.missing() !== 'idle') return;
    const done = await this.#read(account, this.missing, async () => {
      const page = await readAfter(account, asked.from, WINDOW);
      return (ledger) => withMissing(ledger, asked, page);
    });
    if (done) await this.fillMissing();
  }

  async retryMissing(): Promise<void> {
    this.missing.set('idle');
    await this.fillMissing();
  }

  /** True when the page is in the ledger; a page for an account that was left is dropped. */
  async #read(
    account: AccountId,
    loading: typeof this.older,
    page: () => Promise<(ledger: Ledger) => Ledger>,
  ): Promise<boolean> {
    loading.set('reading');
    try {
      const apply = await page();
      if (account !== this.id()) return false;
      this.#ledger.update((ledger) => (ledger === null ? null : apply(ledger)));
      loading.set('idle');
      return true;
    } catch (cause) {
      if (!(cause instanceof Unavailable)) throw cause;
      if (account === this.id()) loading.set('failed');
      return false;
    }
  }
}

async function pageBelow(account: AccountId, asked: Older): Promise<(ledger: Ledger) => Ledger> {
  switch (asked.kind) {
    case 'none':
      return (ledger) => ledger;
    case 'cursor': {
      const page = await readOlder(account, asked.cursor);
      return (ledger) => withOlder(ledger, asked, page);
    }
    case 'below': {
      const page = await readAfter(account, windowBelow(asked.revision), WINDOW);
      return (ledger) => withWindow(ledger, asked, page);
    }
  }
}
