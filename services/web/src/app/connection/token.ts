/**
 * The access token of this page.
 *
 * A demo gateway issues tokens at `TOKEN_URL`. Other gateways have no such URL and read a cookie instead.
 * The token is kept until the gateway announces its end or rejects it.
 */

import { signal } from '@angular/core';

import { struct, text } from '../wire/json-reader';

const TOKEN_URL = '/api/demo/token';
const TIMEOUT_MS = 8_000;
const NO_TOKEN_URL: ReadonlySet<number> = new Set([404, 405]);

const tokenResponse = struct({ token: text });

export const isDemo = signal(false);

let current: Promise<string | null> | null = null;

/** Returns the token, or null if the gateway issues none. Rejects if the token cannot be fetched now. */
export function token(): Promise<string | null> {
  current ??= fetchToken().catch((error: unknown) => {
    current = null;
    throw error;
  });
  return current;
}

/** Discards the token, so that the next call of `token()` fetches a new token. */
export function discardToken(): void {
  current = null;
}

export function renewToken(): Promise<string | null> {
  discardToken();
  return token();
}

async function fetchToken(): Promise<string | null> {
  const response = await fetch(TOKEN_URL, { method: 'POST', signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (NO_TOKEN_URL.has(response.status)) return null;
  if (!response.ok) throw new Error(`token request failed with status ${response.status}`);
  isDemo.set(true);
  return tokenResponse(await response.json()).token;
}
