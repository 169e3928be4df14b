/**
 * Elapsed time that only goes forward, also while the machine sleeps.
 *
 * A monotonic clock stands still in suspend, the wall clock may jump back: each step takes the larger of both,
 * so a sleep is always noticed and a corrected clock never stops a timer.
 */
export type Clock = { readonly monotonic: number; readonly wall: number; readonly elapsed: number };

export function startClock(monotonic: number, wall: number): Clock {
  return { monotonic, wall, elapsed: 0 };
}

/** All in milliseconds. */
export function advance(clock: Clock, monotonic: number, wall: number): Clock {
  const passed = Math.max(0, monotonic - clock.monotonic, wall - clock.wall);
  return { monotonic, wall, elapsed: clock.elapsed + passed };
}
