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

const MAX_ENTRIES = 200;
const MAX_DELAYS = 100;

@Injectable({ providedIn: 'root' })
export class ConnectionLog {
  readonly #clients: Client[] = [];
  readonly #listeners = new Set<(client: Client, event: ClientEvent) => void>();

  readonly entries = signal<readonly LogEntry[]>([]);
  /** Milliseconds from Kafka's time of a change until it was drawn, for the latest changes. */
  readonly delays = signal<readonly number[]>([]);

  /** The client that follows accounts now; null if there is none. */
  get client(): Client | null {
    return this.#clients.find(({ session }) => session.channels.size > 0) ?? null;
  }

  /** Logs what happens to a client from now on. */
  watch(client: Client): void {
    this.#clients.push(client);
    client.onEvent((event) => {
      if (event.kind !== 'changed') this.add(event);
      else if (event.frame.type === 'snapshot') {
        const { reason, revision } = event.frame;
        this.add({ kind: 'snapshot', account: event.account, reason, revision });
      } else if (!event.recovered) this.#measure(client, millis(event.frame.recorded_at));
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

  /** Measures after the next frame is drawn. A hidden page draws none, so that nothing is measured. */
  #measure(client: Client, recordedAt: number): void {
    if (document.hidden) return;
    requestAnimationFrame(() => {
      setTimeout(() => {
        const { clockSkew } = client.session;
        if (clockSkew === null) return;
        const delay = client.now() + clockSkew - recordedAt;
        this.delays.update((delays) => [...delays.slice(1 - MAX_DELAYS), delay]);
      });
    });
  }
}
