/** An account that is followed: its state, its listeners, and the REST reads that complete the state. */

import {
  WINDOW,
  applyFrame,
  windowBelow,
  withMissing,
  withOlder,
  withWindow,
  type AccountState,
  type Older,
} from './account/account-state.js';
import {
  newAccountView,
  viewIn,
  withFields,
  type AccountView,
  type Loading,
} from './account/account-view.js';
import { Unavailable, type Api } from './api.js';
import { Listeners } from './listeners.js';
import type { Session } from './connection/session-state.js';
import type { Delta, Snapshot, TransferListPage } from './wire/frame.js';
import type { AccountId, Position } from './wire/identity.js';

export type Listener = (view: AccountView) => void;
type Change = (state: AccountState) => AccountState;

export class FollowedAccount {
  readonly account: AccountId;
  readonly #api: Api;
  readonly listeners = new Listeners<AccountView>();
  #state: AccountState | null = null;
  #view: AccountView;

  constructor(account: AccountId, api: Api) {
    this.account = account;
    this.#api = api;
    this.#view = newAccountView(account);
  }

  get state(): AccountState | null {
    return this.#state;
  }

  get position(): Position | null {
    return this.#state && { epoch: this.#state.epoch, revision: this.#state.revision };
  }

  get view(): AccountView {
    return this.#view;
  }

  /** Begins with a state that was kept. */
  restore(state: AccountState): void {
    this.#state = state;
    this.#show(withFields(this.#view, { state }));
    void this.loadMissing();
  }

  /** Applies a frame that fits the state. */
  apply(frame: Snapshot | Delta): void {
    this.#state = applyFrame(this.#state, frame);
    void this.loadMissing();
  }

  /** Brings the view up to date with the session, and reports it if it has changed. */
  update(session: Session, now: number): void {
    this.#show(viewIn(session, now, this.#view, this.#state));
  }

  /** Loads one page of older transfers. */
  async loadOlder(): Promise<void> {
    const requested = this.#state?.older;
    if (requested === undefined || this.#view.older === 'loading') return;
    await this.#load('older', () => this.#fetchOlder(requested));
  }

  /** Loads the transfers of a gap, page by page, oldest first. After a failure it needs `retryMissing`. */
  async loadMissing(): Promise<void> {
    for (;;) {
      const requested = this.#state?.missing ?? null;
      if (requested === null || this.#view.missing !== 'idle') return;
      const loaded = await this.#load('missing', async () => {
        const page = await this.#read(this.#api.transfersAfter(this.account, requested.from, WINDOW));
        return (state) => withMissing(state, requested, page);
      });
      if (!loaded) return;
    }
  }

  async retryMissing(): Promise<void> {
    this.#show(withFields(this.#view, { missing: 'idle' }));
    await this.loadMissing();
  }

  /** Fetches a change and applies it. Returns false if that failed or the user left the account. */
  async #load(kind: 'older' | 'missing', fetchChange: () => Promise<Change>): Promise<boolean> {
    this.#show(withFields(this.#view, { [kind]: 'loading' satisfies Loading }));
    try {
      const change = await fetchChange();
      if (this.listeners.isEmpty) {
        this.#show(withFields(this.#view, { [kind]: 'idle' satisfies Loading })); // the user can come back
        return false;
      }
      this.#state = this.#state && change(this.#state);
      const state = this.#view.state && this.#state;
      this.#show(withFields(this.#view, { state, [kind]: 'idle' satisfies Loading }));
      return true;
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error;
      this.#show(withFields(this.#view, { [kind]: 'failed' satisfies Loading }));
      return false;
    }
  }

  async #fetchOlder(requested: Older): Promise<Change> {
    switch (requested.kind) {
      case 'none':
        return (state) => state;
      case 'cursor': {
        const page = await this.#read(this.#api.olderTransfers(this.account, requested.cursor));
        return (state) => withOlder(state, requested, page);
      }
      case 'below': {
        const after = windowBelow(requested.revision);
        const page = await this.#read(this.#api.transfersAfter(this.account, after, WINDOW));
        return (state) => withWindow(state, requested, page);
      }
    }
  }

  /** Returns a page. One of another epoch is unavailable: its transfers do not belong to those of the state. */
  async #read(reading: Promise<TransferListPage>): Promise<TransferListPage> {
    const epoch = this.#state?.epoch;
    const page = await reading;
    if (page.epoch !== epoch && this.#state?.epoch === epoch) throw new Unavailable('the epoch has changed');
    return page;
  }

  #show(view: AccountView): void {
    if (view === this.#view) return;
    this.#view = view;
    this.listeners.call(view);
  }
}
