import { describe, expect, it } from 'vitest';
import { money, type Money, type Transfer } from '@livebalance/client';

import { sparkline } from './sparkline';

const amount = (text: string): Money => money(text) ?? expect.fail(`${text} is not an amount`);
const row = (total: string) => ({ total: amount(total) }) as Transfer;

describe('sparkline', () => {
  it('goes from the oldest to the newest row, also with mixed scales', () => {
    expect(sparkline([row('1.00'), row('0.5'), row('0')], { width: 100, height: 10 })).toBe(
      'M0 10L50 5L100 0',
    );
  });

  it('is flat if all totals are equal', () => {
    expect(sparkline([row('1'), row('1')], { width: 10, height: 10 })).toBe('M0 10L10 10');
  });

  it('is empty with one row', () => {
    expect(sparkline([row('1')], { width: 10, height: 10 })).toBe('');
  });
});
