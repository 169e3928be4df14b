/** Compares accounts that were resumed with Postgres, over REST. In demos only: elsewhere it would be a load. */

import type { AccountId, Client } from '@livebalance/client';

import type { ConnectionLog } from '../connection/connection-log';
import { compare } from './comparison';

/** Number of accounts that are compared after a reconnect. */
const MAX_ACCOUNTS = 10;
const MAX_TRANSFERS = 500;
/** Pause after the last account was resumed, so that the comparisons of a reconnect stay together. */
const PAUSE_MS = 300;
/** Longest wait until the page holds what REST has read. */
const CATCH_UP_MS = 10_000;

export class Auditor {
  readonly #log: ConnectionLog;
  /** The revisions that resumed accounts continued from. */
  readonly #due = new Map<AccountId, { readonly client: Client; readonly from: number }>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stop: (() => void) | null = null;

  constructor(log: ConnectionLog) {
    this.#log = log;
  }

  start(): void {
    this.#stop ??= this.#log.onEvent((client, event) => {
      if (event.kind !== 'resumed') return;
      const { account, from } = event;
      if (this.#due.size < MAX_ACCOUNTS) this.#due.set(account, { client, from });
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => void this.#compareAll(), PAUSE_MS);
    });
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#stop?.();
    this.#stop = null;
  }

  async #compareAll(): Promise<void> {
    const due = [...this.#due];
    this.#due.clear();
    for (const [account, { client, from }] of due) await this.#compare(client, account, from);
  }

  async #compare(client: Client, account: AccountId, from: number): Promise<void> {
    const shown = client.view(account)?.state?.revision ?? from;
    const read = client.api.account(account, shown);
    const snapshot = await read.catch(() => null);
    const list = await client.api.transfersAfter(account, from, MAX_TRANSFERS).catch(() => null);
    const revision = snapshot?.revision ?? shown;
    await reach(client, account, revision);
    const state = client.view(account)?.state ?? null;
    const result =
      state === null || snapshot === null || list === null ? 'unknown' : compare(state, from, snapshot, list);
    this.#log.add({ kind: 'compared', account, result, revision });
  }
}

/** Resolves when the page holds a revision, or after `CATCH_UP_MS`. */
async function reach(client: Client, account: AccountId, revision: number): Promise<void> {
  const isReached = () => (client.view(account)?.state?.revision ?? 0) >= revision;
  if (isReached()) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      clearTimeout(timer);
      stop();
      resolve();
    };
    const timer = setTimeout(done, CATCH_UP_MS);
    const stop = client.onStep(() => {
      if (isReached()) done();
    });
  });
}
