/**
 * The access token of this page.
 *
 * A demo gateway issues tokens at `TOKEN_URL`. Other gateways have no such URL and read a cookie instead.
 */

import { signal } from '@angular/core';

const TOKEN_URL = '/api/demo/token';
const NO_TOKEN_URL: ReadonlySet<number> = new Set([404, 405]);

export const isDemo = signal(false);

/** Returns the token, or null if the gateway issues none. Rejects if the token cannot be fetched now. */
export async function fetchToken(signal: AbortSignal): Promise<string | null> {
  const response = await fetch(TOKEN_URL, { method: 'POST', signal });
  if (NO_TOKEN_URL.has(response.status)) return null;
  const { token } = (await response.json()) as { token?: unknown };
  if (!response.ok || typeof token !== 'string')
    throw new Error(`token request failed with status ${response.status}`);
  isDemo.set(true);
  return token;
}
