/** The access token of a client. It is kept until the gateway announces its end or rejects it. */

import { withDeadline } from './deadline.js';

const TIMEOUT_MS = 8_000;

/** Returns a valid token, or null if a cookie holds it. If it rejects, the client retries later. */
export type TokenProvider = (signal: AbortSignal) => Promise<string | null>;

export class Token {
  #current: Promise<string | null> | null = null;

  constructor(readonly provide: TokenProvider) {}

  /** Returns the token. Rejects if the token cannot be fetched now. */
  get(): Promise<string | null> {
    this.#current ??= withDeadline(TIMEOUT_MS, this.provide).catch((error: unknown) => {
      this.#current = null;
      throw error;
    });
    return this.#current;
  }

  /** Discards the token, so that the next call of `get` fetches a new token. */
  discard(): void {
    this.#current = null;
  }

  renew(): Promise<string | null> {
    this.discard();
    return this.get();
  }
}
