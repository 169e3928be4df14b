/** Delays before reconnecting. Full jitter keeps clients of a lost gateway from reconnecting all at once. */

import { retryAfterMs } from '../wire/close.js';
import type { StepContext } from './step-context.js';

const FIRST_MS = 500;
const MAX_MS = 20_000;
export const GOODBYE = 4000;

/** Returns a delay of at most 0.5 s for attempt 0. The limit doubles with each attempt, up to 20 s. */
export function backoffMs(attempt: number, jitter: number): number {
  return jitter * Math.min(MAX_MS, FIRST_MS * 2 ** Math.min(attempt, 16));
}

/**
 * Returns the delay before reconnecting after a close.
 *
 * In a close with code 4000, `retry_after_ms` is the longest delay. With any other code it is the shortest.
 */
export function reconnectDelayMs(
  close: { code: number; reason: string },
  attempt: number,
  { jitter }: StepContext,
): number {
  const retryAfter = retryAfterMs(close.reason);
  if (retryAfter === null) return backoffMs(attempt, jitter);
  return close.code === GOODBYE ? jitter * retryAfter : retryAfter + backoffMs(attempt, jitter);
}
