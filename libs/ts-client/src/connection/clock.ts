/**
 * Elapsed time that never goes backwards and includes the time in which the computer sleeps.
 *
 * A monotonic clock stops during sleep, and the wall clock can be set back. Each step adds the larger of both
 * differences, so that a sleep counts and a corrected wall clock does not stop a timer.
 */
export type Clock = { readonly monotonic: number; readonly wall: number; readonly elapsed: number };

export function startClock(monotonic: number, wall: number): Clock {
  return { monotonic, wall, elapsed: 0 };
}

/** Returns the clock at the given readings, in milliseconds. */
export function advance(clock: Clock, monotonic: number, wall: number): Clock {
  const passed = Math.max(0, monotonic - clock.monotonic, wall - clock.wall);
  return { monotonic, wall, elapsed: clock.elapsed + passed };
}
