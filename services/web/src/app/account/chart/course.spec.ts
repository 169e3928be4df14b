import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromParts, plus, type Instant, type Money, type Revision, type Transfer } from '@livebalance/client';

import { HEIGHT, appended, change, extremes, heights, pointsOf, within } from './course';

/** Returns transfers (newest first) with a time in seconds and an amount each. */
function rowsOf(...transfers: [seconds: number, amount: string][]): Transfer[] {
  let total = '0' as Money;
  const rows = transfers.map(([seconds, amount], index): Transfer => {
    total = plus(total, amount as Money);
    return {
      id: `t-${index}`,
      amount: amount as Money,
      total,
      occurred_at: new Date(seconds * 1_000).toISOString() as Instant,
      revision: (2 * index + 1) as Revision,
      source: `transfers/0@${index}`,
    };
  });
  return rows.reverse();
}

const anyMoney = fc
  .record({ unscaled: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), scale: fc.nat(18) })
  .map(fromParts);

describe('points', () => {
  it('have the running totals, and times that never decrease', () => {
    const points = pointsOf(rowsOf([10, '5.00'], [8, '-7.25'], [12, '0.000000000000000001']));
    expect(points.map(({ at, total }) => [at, total])).toEqual([
      [10_000, '5.00'],
      [10_000, '-2.25'],
      [12_000, '-2.249999999999999999'],
    ]);
  });

  it('of later transfers follow once', () => {
    const rows = rowsOf([1, '1'], [2, '2'], [3, '3']);
    const points = pointsOf(rows.slice(1));
    expect(appended(points, rows.toReversed())).toEqual(pointsOf(rows));
  });
});

describe('within', () => {
  const points = pointsOf(rowsOf([1, '1'], [2, '2'], [3, '3']));

  it('begins and ends with the totals at both times', () => {
    expect(within(points, 1_500, 9_000).map(({ at, total }) => [at, total])).toEqual([
      [1_500, '1'],
      [2_000, '3'],
      [3_000, '6'],
      [9_000, '6'],
    ]);
  });

  it('is the last total if nothing happened, and nothing before the first', () => {
    expect(within(points, 5_000, 6_000).map(({ total }) => total)).toEqual(['6', '6']);
    expect(within(points, 0, 500)).toEqual([]);
    expect(within([], -Infinity, 500)).toEqual([]);
  });
});

describe('heights', () => {
  it('rise with exact totals of any scale', () => {
    fc.assert(
      fc.property(fc.array(anyMoney, { minLength: 2, maxLength: 20 }), (totals) => {
        const result = heights(totals);
        expect(Math.min(...result)).toBe(0);
        expect(Math.max(...result)).toBeLessThanOrEqual(HEIGHT);
        const most = extremes(totals) ?? expect.fail();
        expect(plus(most.low, '0' as Money).length).toBeGreaterThan(0);
        expect(heights([most.low, most.high]).at(-1)).toBe(Math.max(...result));
      }),
    );
  });

  it('are zero for equal totals', () => {
    expect(heights(['1.0', '1.00'] as Money[])).toEqual([0, 0]);
    expect(heights([])).toEqual([]);
    expect(extremes([])).toBeNull();
  });
});

describe('change', () => {
  it('is the exact difference of the last and the first total', () => {
    expect(change(pointsOf(rowsOf([1, '0.1'], [2, '92233720368547758.07'])))).toBe('92233720368547758.07');
    expect(change(pointsOf(rowsOf([1, '5'])))).toBeNull();
  });
});
