import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromParts, money, parts, type Money } from '@livebalance/client';

import { AmountFormat, direction } from './amount-format';

const amount = (text: string): Money => money(text) ?? expect.fail(`${text} is not an amount`);

describe('AmountFormat', () => {
  const english = new AmountFormat('en-GB');

  it('formats long amounts exactly', () => {
    expect(english.format(amount('92233720368547758.07'), 'EUR')).toBe('€92,233,720,368,547,758.07');
    expect(english.format(amount('-0.000000000000000001'), null)).toBe('\u22120.000000000000000001');
    expect(new AmountFormat('de-DE').format(amount('1234.50'), 'EUR')).toBe('1.234,50\u00a0€');
  });

  it('keeps every digit of any amount', () => {
    const anyParts = fc.record({
      unscaled: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      scale: fc.nat(18),
    });
    fc.assert(
      fc.property(anyParts, (value) => {
        const text = english.format(fromParts(value), null).replaceAll(',', '').replace('\u2212', '-');
        expect(parts(amount(text))).toEqual(value);
      }),
    );
  });

  it('shows a plus before a credit if the sign is always displayed', () => {
    expect(english.format(amount('12.50'), 'EUR', 'always')).toBe('+\u202f€12.50');
    expect(english.format(amount('0.00'), 'EUR', 'always')).toBe('€0.00');
  });

  it('separates a minus from a currency that follows', () => {
    expect(english.format(amount('-3918.92'), 'EUR')).toBe('\u2212\u202f€3,918.92');
    expect(new AmountFormat('de-DE').format(amount('-3918.92'), 'EUR')).toBe('\u22123.918,92\u00a0€');
  });

  it('leaves out a currency that is not a code of three letters', () => {
    expect(english.format(amount('5'), 'points')).toBe('5');
  });
});

describe('direction', () => {
  it('follows the sign of the amount', () => {
    expect([direction(amount('0.01')), direction(amount('-0.01')), direction(amount('0.00'))]).toEqual([
      'credit',
      'debit',
      'none',
    ]);
  });
});
