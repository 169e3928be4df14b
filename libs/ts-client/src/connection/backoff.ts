/** Delays before reconnecting. Full jitter keeps clients of a lost gateway from reconnecting all at once. */

import { retryAfterMs } from '../wire/close.js';
import type { ErrorFrame } from '../wire/frame.js';
import type { StepContext } from './step-context.js';

const FIRST_MS = 500;
const MAX_MS = 20_000;
/** Delay after an error that names none. */
const DEFAULT_RETRY_MS = 1_000;
/** Time between frames that retry subscriptions. */
const RETRY_INTERVAL_MS = 250;
export const GOODBYE = 4000;

/** Returns a delay of at most 0.5 s for attempt 0. The limit doubles with each attempt, up to 20 s. */
export function backoffMs(attempt: number, jitter: number): number {
  return jitter * Math.min(MAX_MS, FIRST_MS * 2 ** Math.min(attempt, 16));
}

/**
 * Returns when to subscribe again after a temporary error.
 *
 * A gateway answers each account at its own time. Rounded up to a multiple of an interval, retries share
 * frames, and so a client with many accounts stays within the gateway's limit of messages.
 */
export function retryAt(error: ErrorFrame, { now, jitter }: Pick<StepContext, 'now' | 'jitter'>): number {
  const earliest = now + (error.retry_after_ms ?? DEFAULT_RETRY_MS) + backoffMs(0, jitter);
  return Math.ceil(earliest / RETRY_INTERVAL_MS) * RETRY_INTERVAL_MS;
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
