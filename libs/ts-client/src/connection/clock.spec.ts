import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { advance, startClock } from './clock.js';

describe('clock', () => {
  it('counts a sleep in which the monotonic clock stopped', () => {
    expect(advance(startClock(100, 5_000), 101, 65_000).elapsed).toBe(60_000);
  });

  it('advances if the wall clock is set back', () => {
    expect(advance(startClock(100, 3_600_000), 1_100, 0).elapsed).toBe(1_000);
  });

  it('does not run fast with many steps, although the wall clock counts whole milliseconds', () => {
    let clock = startClock(0, 0);
    for (let now = 0; now <= 60_000; now += 0.3) clock = advance(clock, now, Math.floor(now));
    expect(clock.elapsed).toBeCloseTo(60_000, -1);
  });

  it('never goes backwards for any readings', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer(), fc.integer())), (readings) => {
        let clock = startClock(0, 0);
        for (const [monotonic, wall] of readings) {
          const next = advance(clock, monotonic, wall);
          expect(next.elapsed).toBeGreaterThanOrEqual(clock.elapsed);
          clock = next;
        }
      }),
    );
  });
});
