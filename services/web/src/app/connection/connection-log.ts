/** What happened to the connection, and how old changes are when they are drawn. Both are bounded. */

import { Injectable, signal } from '@angular/core';
import { millis, type AccountId, type Client, type ClientEvent, type Snapshot } from '@livebalance/client';

export type Comparison = 'equal' | 'different' | 'unknown';

export type Happening =
  | Exclude<ClientEvent, { kind: 'changed' }>
  | {
      readonly kind: 'snapshot';
      readonly account: AccountId;
      readonly reason: Snapshot['reason'];
      readonly revision: number;
    }
  /** The user of the demo did something. */
  | { readonly kind: 'action'; readonly text: string }
  /** The account on the page was compared with what REST reads from Postgres. */
  | {
      readonly kind: 'compared';
      readonly account: AccountId;
      readonly result: Comparison;
      readonly revision: number;
    };

/** `at` is in milliseconds since the page was opened, `time` on the clock of this computer. */
export type LogEntry = { readonly at: number; readonly time: number; readonly happening: Happening };

/** `recordedAt` is Kafka's time of a change, in milliseconds. */
type Change = { readonly client: Client; readonly recordedAt: number };

const MAX_ENTRIES = 200;
const MAX_DELAYS = 100;
const MAX_NOT_SHOWN = 1_000;

@Injectable({ providedIn: 'root' })
export class ConnectionLog {
  readonly #clients: Client[] = [];
  /** Changes that the page does not show yet, and those that the next frame draws. */
  readonly #notShown: Change[] = [];
  readonly #shown: Change[] = [];
  #isFrameRequested = false;
  readonly #listeners = new Set<(client: Client, event: ClientEvent) => void>();

  readonly entries = signal<readonly LogEntry[]>([]);
  /** Milliseconds from Kafka's time of a change until it was drawn, for the latest changes. */
  readonly delays = signal<readonly number[]>([]);

  /** The client that follows accounts now; null if there is none. */
  get client(): Client | null {
    return this.#clients.find(({ session }) => session.channels.size > 0) ?? null;
  }

  /** Logs what happens to a client from now on. Whoever shows its changes calls `markShown`. */
  watch(client: Client): void {
    this.#clients.push(client);
    client.onEvent((event) => {
      if (event.kind !== 'changed') this.add(event);
      else if (event.frame.type === 'snapshot') {
        const { reason, revision } = event.frame;
        this.add({ kind: 'snapshot', account: event.account, reason, revision });
      } else if (!event.recovered && !document.hidden && this.#notShown.length < MAX_NOT_SHOWN)
        this.#notShown.push({ client, recordedAt: millis(event.frame.recorded_at) });
      for (const listener of this.#listeners) listener(client, event);
    });
  }

  /** Calls `listener` with each event of a client. Returns a function that ends this. */
  onEvent(listener: (client: Client, event: ClientEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Adds what happened at a time since the page was opened: now, unless it is given. */
  add(happening: Happening, at = performance.now()): void {
    const entry = { at, time: Date.now() - (performance.now() - at), happening };
    this.entries.update((entries) =>
      [...entries.slice(1 - MAX_ENTRIES), entry].toSorted((a, b) => a.at - b.at),
    );
  }

  /** Measures the changes that the next frame draws. A hidden page draws none, so that nothing is measured. */
  markShown(): void {
    this.#shown.push(...this.#notShown.splice(0));
    if (this.#shown.length === 0 || this.#isFrameRequested) return;
    this.#isFrameRequested = true;
    requestAnimationFrame(() => {
      this.#isFrameRequested = false;
      const shown = this.#shown.splice(0);
      setTimeout(() => {
        this.#measure(shown);
      });
    });
  }

  #measure(drawn: readonly Change[]): void {
    const delays = drawn.flatMap(({ client, recordedAt }) => {
      const { clockSkew } = client.session;
      return clockSkew === null ? [] : [client.now() + clockSkew - recordedAt];
    });
    this.delays.update((previous) => [...previous, ...delays].slice(-MAX_DELAYS));
  }
}
