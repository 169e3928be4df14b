import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { throttled } from './throttled';

describe('throttled', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('shows a single change at once, after the step that made it', async () => {
    const log: string[] = [];
    const changed = throttled(50, () => log.push('shown'));
    changed();
    log.push('events of the step');
    await vi.advanceTimersByTimeAsync(0);
    expect(log).toEqual(['events of the step', 'shown']);
  });

  it('shows the changes of an interval together, and the last of them, too', async () => {
    let value = 0;
    const shown: number[] = [];
    const changed = throttled(50, () => shown.push(value));
    for (value = 1; value < 10; value += 1) {
      changed();
      await vi.advanceTimersByTimeAsync(10);
    }
    await vi.advanceTimersByTimeAsync(50);
    expect(shown).toEqual([1, 5, 10]);
  });

  it('shows a change at once again after an interval without changes', async () => {
    let count = 0;
    const changed = throttled(50, () => (count += 1));
    changed();
    await vi.advanceTimersByTimeAsync(50);
    changed();
    await vi.advanceTimersByTimeAsync(0);
    expect(count).toBe(2);
  });
});
