/** Keeps states over a reload: restores them from a storage, and writes the states that changed. */

import { fromStored, toStored, type StoredState } from './account/stored-state.js';
import type { AccountState } from './account/account-state.js';
import { withDeadline } from './deadline.js';

/** Longest wait for a storage. After it, the client goes on without: the storage is only a cache. */
const TIMEOUT_MS = 2_000;
/** Longest time in which a changed state is not written yet. */
const WRITE_AFTER_MS = 5_000;

/** Where a client keeps states. `indexedDbStorage` is one for browsers. */
export type StateStorage = {
  /** Returns what was last written for an account, or anything else if there is nothing. */
  read(account: string): Promise<unknown>;
  /** Replaces the states of these accounts; null removes a state. */
  write(states: ReadonlyMap<string, StoredState | null>): Promise<void>;
  /** Removes all states. Called when the gateway revokes the user's access. */
  clear(): Promise<void>;
};

export class StateWriter {
  readonly #storage: StateStorage;
  /** States that are not written yet: at most the latest of each account. */
  readonly #changed = new Map<string, AccountState | null>();
  #mustClear = false;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #writing: Promise<void> = Promise.resolve();

  constructor(storage: StateStorage) {
    this.#storage = storage;
  }

  /** Returns the state that was kept, or null if there is none or the storage fails. */
  async restore(account: string): Promise<AccountState | null> {
    const changed = this.#changed.get(account);
    if (changed !== undefined) return changed;
    if (this.#mustClear) return null;
    const read = () => this.#writing.then(() => this.#storage.read(account));
    return withDeadline(TIMEOUT_MS, read).then(fromStored, () => null);
  }

  /** Writes a state soon. Null removes it. */
  change(account: string, state: AccountState | null): void {
    this.#changed.set(account, state);
    this.#timer ??= setTimeout(() => void this.flush(), WRITE_AFTER_MS);
  }

  /** Removes all states, also of accounts that are not followed. */
  clear(): void {
    this.#changed.clear();
    this.#mustClear = true;
    void this.flush();
  }

  /** Writes what has changed, after the write that runs. Resolves when both have ended. */
  flush(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  async #write(): Promise<void> {
    const [mustClear, changed] = [this.#mustClear, new Map(this.#changed)];
    if (!mustClear && changed.size === 0) return;
    this.#changed.clear();
    this.#mustClear = false;
    const states = new Map(Array.from(changed, ([account, state]) => [account, state && toStored(state)]));
    try {
      await withDeadline(TIMEOUT_MS, async () => {
        if (mustClear) await this.#storage.clear();
        await this.#storage.write(states);
      });
    } catch {
      // A state that was not written costs a longer resume. A removal is repeated with the next write.
      this.#mustClear ||= mustClear;
      for (const [account, state] of changed)
        if (state === null && !this.#changed.has(account)) this.#changed.set(account, null);
    }
  }
}
