/** How long to stay away after a connection was lost: full jitter, so that many clients do not come back at once. */

import { retryAfterMs } from '../wire/close';
import type { Moment } from './moment';

const FIRST_MS = 500;
const CAP_MS = 20_000;
const GOODBYE = 4000;

/** Attempt 0 waits 0 … 0.5 s, each further one up to twice as long, at most 20 s. */
export function backoffMs(attempt: number, chance: number): number {
  return chance * Math.min(CAP_MS, FIRST_MS * 2 ** Math.min(attempt, 16));
}

/** A goodbye names the time *within* which to come back, any other close the time *after* which. */
export function waitMs(close: { code: number; reason: string }, attempt: number, { chance }: Moment): number {
  const asked = retryAfterMs(close.reason);
  if (asked === null) return backoffMs(attempt, chance);
  return close.code === GOODBYE ? chance * asked : asked + backoffMs(attempt, chance);
}
