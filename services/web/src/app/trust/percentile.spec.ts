import { describe, expect, it } from 'vitest';

import { percentile } from './percentile';

const upTo = (count: number) => Array.from({ length: count }, (_, index) => count - index);

describe('percentile', () => {
  it.each([
    [100, 50, 50],
    [100, 95, 95],
    [100, 100, 100],
    [1, 95, 1],
    [4, 50, 2],
    [3, 0, 1],
  ])('of 1 to %i at %i %% is %i', (count, percent, expected) => {
    expect(percentile(upTo(count), percent)).toBe(expected);
  });

  it('of no values is null', () => {
    expect(percentile([], 50)).toBeNull();
  });

  it('compares numbers, not texts', () => {
    expect(percentile([10, 9, -1], 100)).toBe(10);
  });
});
