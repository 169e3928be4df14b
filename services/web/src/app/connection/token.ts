/**
 * The token of this page: a demo gives one to whoever asks; elsewhere there is none, and a cookie says who asks.
 *
 * It is kept until the gateway says that it ends, or does not take it.
 */

import { signal } from '@angular/core';

import { struct, text } from '../wire/shape';

const DESK = '/api/demo/token';
const DEADLINE_MS = 8_000;
const NO_DESK: ReadonlySet<number> = new Set([404, 405]);

const given = struct({ token: text });

export const isDemo = signal(false);

let current: Promise<string | null> | null = null;

/** Null where no token is needed; rejects while it cannot be had. */
export function token(): Promise<string | null> {
  current ??= ask().catch((cause: unknown) => {
    current = null;
    throw cause;
  });
  return current;
}

/** The next one is another. */
export function forget(): void {
  current = null;
}

export function renew(): Promise<string | null> {
  forget();
  return token();
}

async function ask(): Promise<string | null> {
  const answer = await fetch(DESK, { method: 'POST', signal: AbortSignal.timeout(DEADLINE_MS) });
  if (NO_DESK.has(answer.status)) return null;
  if (!answer.ok) throw new Error(`no token: ${answer.status}`);
  isDemo.set(true);
  return given(await answer.json()).token;
}
