import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  fromParts,
  millis,
  type Instant,
  type Money,
  type Revision,
  type Transfer,
} from '@livebalance/client';

import { filterOf, isEmpty, isImpossible, passes, queryOf, type Filter } from './filter';

const NOON = new Date(2026, 10, 24, 12).getTime();
const NONE = filterOf({});

function rowOf(amount: string, id = 't-1'): Transfer {
  return {
    id,
    amount: amount as Money,
    total: amount as Money,
    occurred_at: new Date(NOON).toISOString() as Instant,
    revision: 2 as Revision,
    source: 'transfers/0@1',
  };
}

describe('filterOf', () => {
  it('takes valid parameters and ignores others', () => {
    const parameters = {
      direction: 'in',
      min: '1.5',
      max: '20',
      id: 't-',
      from: '2026-11-01',
      to: '2026-11-30',
    };
    expect(filterOf(parameters)).toEqual(parameters);
    const invalid = { direction: 'up', min: '-1', max: '1e3', id: 'a b', from: '2026-02-30', to: 'today' };
    expect(isEmpty(filterOf(invalid))).toBe(true);
    expect(isEmpty(filterOf({ direction: ['in', 'out'], min: undefined }))).toBe(true);
  });
});

describe('an amount of the filter', () => {
  it('can have a decimal comma, and has a form that the REST API accepts', () => {
    const read = (min: string) => filterOf({ min }).min;
    expect(['12,5', '7', '0.000000000000000001'].map(read)).toEqual(['12.5', '7', '0.000000000000000001']);
    const invalid = ['', '-1', '1,2,3', '1.0000000000000000001', 'x', '01', '9'.repeat(42)];
    expect(invalid.map(read).filter((amount) => amount !== null)).toEqual([]);
  });
});

describe('days of the filter', () => {
  it('have a year with which the REST API can search', () => {
    const days = ['0002-01-01', '9999-12-31', '1899-12-31', '2199-12-31', '1900-01-01'];
    expect(days.map((from) => filterOf({ from }).from)).toEqual([null, null, null, ...days.slice(3)]);
  });

  it('are impossible in the wrong order', () => {
    expect(isImpossible(filterOf({ from: '2026-11-02', to: '2026-11-01' }))).toBe(true);
    expect(isImpossible(filterOf({ from: '2026-11-01', to: '2026-11-01' }))).toBe(false);
    expect(isImpossible(filterOf({ from: '2026-11-02' }))).toBe(false);
  });
});

describe('queryOf', () => {
  it('includes the whole last day by the clock of the reader', () => {
    const query = queryOf({ ...NONE, from: '2026-11-24', to: '2026-11-24' });
    expect(Object.keys(query)).toEqual(['from', 'to']);
    expect(millis(query['to'] as Instant) - millis(query['from'] as Instant)).toBe(86_400_000);
    expect(queryOf(filterOf({ direction: 'out', min: '3' }))).toEqual({ direction: 'out', min_amount: '3' });
  });
});

describe('passes', () => {
  const all: [string, Partial<Filter>, boolean][] = [
    ['5.00', {}, true],
    ['5.00', { direction: 'in' }, true],
    ['5.00', { direction: 'out' }, false],
    ['0.00', { direction: 'in' }, false],
    ['-5.00', { min: '5' as Money, max: '5.000' as Money }, true],
    ['-5.01', { max: '5' as Money }, false],
    ['92233720368547758.07', { min: '92233720368547758.08' as Money }, false],
    ['5.00', { id: '-1' }, true],
    ['5.00', { id: '-2' }, false],
    ['5.00', { from: '2026-11-24', to: '2026-11-24' }, true],
    ['5.00', { from: '2026-11-25' }, false],
    ['5.00', { to: '2026-11-23' }, false],
  ];
  it.each(all)('%s with %o: %s', (amount, filter, expected) => {
    expect(passes({ ...NONE, ...filter }, rowOf(amount), NOON)).toBe(expected);
  });

  it('compares amounts of any scale exactly', () => {
    const parts = fc.record({ unscaled: fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }), scale: fc.nat(18) });
    fc.assert(
      fc.property(parts, parts, (a, b) => {
        const isLess = a.unscaled * 10n ** BigInt(b.scale) <= b.unscaled * 10n ** BigInt(a.scale);
        expect(passes({ ...NONE, max: fromParts(b) }, rowOf(fromParts(a)), NOON)).toBe(isLess);
      }),
    );
  });
});
