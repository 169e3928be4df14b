/**
 * Elapsed time that never goes backwards and includes the time in which the computer sleeps.
 *
 * A monotonic clock stops during sleep, and the wall clock can be set back. Each step adds the difference of the
 * monotonic clock, and what the wall clock is ahead of it by a sleep.
 */
export type Clock = { readonly monotonic: number; readonly wall: number; readonly elapsed: number };

/** The wall clock counts whole milliseconds, so a step can find it a little ahead: less than this is no sleep. */
const SLEEP_MS = 50;

export function startClock(monotonic: number, wall: number): Clock {
  return { monotonic, wall, elapsed: 0 };
}

/** Returns the clock at the given readings, in milliseconds. */
export function advance(clock: Clock, monotonic: number, wall: number): Clock {
  const ran = Math.max(0, monotonic - clock.monotonic);
  const slept = wall - clock.wall - ran;
  return { monotonic, wall, elapsed: clock.elapsed + ran + (slept > SLEEP_MS ? slept : 0) };
}
