import { atScale, parts, type Balance, type Currency, type Money } from '@livebalance/client';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { isLiveTotal, totalsOf } from './totals';

type Row = Parameters<typeof totalsOf>[0][number];

function row(amount: string | null, currency: Currency = 'EUR', live = true, disputed = false): Row {
  const balance = amount === null ? null : ({ amount: amount as Money, currency } as Balance);
  return { balance, live, disputed };
}

const amount = fc
  .tuple(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.integer({ min: 0, max: 18 }))
  .map(([unscaled, scale]) => {
    const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, '0');
    const point = digits.length - scale;
    return `${unscaled < 0n ? '-' : ''}${digits.slice(0, point)}${scale > 0 ? `.${digits.slice(point)}` : ''}`;
  });

describe('totals', () => {
  it('are exact for amounts of any size and scale', () => {
    fc.assert(
      fc.property(fc.array(amount, { minLength: 1 }), (amounts) => {
        const { totals } = totalsOf(amounts.map((text) => row(text)));
        const sum = amounts.reduce((total, text) => total + atScale(parts(text as Money), 18), 0n);
        expect(totals.map((total) => atScale(parts(total.amount), 18))).toEqual([sum]);
      }),
    );
  });

  it('never add amounts of different currencies', () => {
    const { totals } = totalsOf([
      row('1.10'),
      row('500', 'JPY'),
      row('2', null),
      row('0.001'),
      row('1', 'JPY'),
    ]);
    expect(totals.map(({ currency, amount, included }) => [currency, amount, included])).toEqual([
      ['EUR', '1.101', 2],
      ['JPY', '501', 2],
      [null, '2', 1],
    ]);
  });

  it('are live only if each watched balance is known and live', () => {
    const live = (...rows: Row[]) => {
      const { totals, missing } = totalsOf(rows);
      return totals.map((total) => isLiveTotal(total, missing));
    };
    expect(live(row('1'), row('2', 'JPY'))).toEqual([true, true]);
    expect(live(row('1'), row('2', 'EUR', false), row('2', 'JPY'))).toEqual([false, true]);
    expect(live(row('1'), row(null))).toEqual([false]);
  });

  it('count what they leave out and what is disputed', () => {
    const { totals, missing } = totalsOf([row('1', 'EUR', true, true), row(null), row(null, 'EUR', false)]);
    expect([totals[0]?.disputed, missing]).toEqual([1, 2]);
    expect(totalsOf([])).toEqual({ totals: [], missing: 0 });
  });
});
