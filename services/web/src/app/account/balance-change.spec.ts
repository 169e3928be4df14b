import type { Balance, Money } from '@livebalance/client';
import { describe, expect, it } from 'vitest';

import { balanceChange } from './balance-change';

const balance = (amount: string, halfApplied: string | null): Balance =>
  ({ amount: amount as Money, half_applied: halfApplied as Money | null }) as Balance;

describe('balanceChange', () => {
  it('tells whether the amount grew', () => {
    const first = balanceChange(balance('5.00', '0.00'), undefined);
    const debit = balanceChange(balance('4.00', '0.00'), first);
    const credit = balanceChange(balance('4.50', '0.00'), debit);
    expect([first, debit, credit].map((change) => change.direction)).toEqual(['none', 'debit', 'credit']);
  });

  it('keeps the last change if the transfer of the balance arrives after it', () => {
    const first = balanceChange(balance('5.00', '0.00'), undefined);
    const debit = balanceChange(balance('4.00', null), first);
    expect(balanceChange(balance('4.00', '0.00'), debit).direction).toBe('debit');
  });

  it('begins anew after a time without a balance', () => {
    const debit = balanceChange(balance('4.00', '0.00'), balanceChange(balance('5.00', '0.00'), undefined));
    const none = balanceChange(null, debit);
    expect(balanceChange(balance('4.00', '0.00'), none).direction).toBe('none');
  });
});
