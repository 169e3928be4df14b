/** Totals of the watched balances, one for each currency. A total is live only if each balance in it is live. */

import { plus, type Currency, type Money } from '@livebalance/client';

import type { LiveRow } from './live-row';

export type Total = {
  readonly currency: Currency;
  readonly amount: Money;
  /** Number of balances in it. */
  readonly included: number;
  /** Number of those balances that are not confirmed to be up to date. */
  readonly stale: number;
  /** Number of those balances that are disputed. */
  readonly disputed: number;
};

export type Totals = {
  /** Ordered by currency; balances without a currency come last. */
  readonly totals: readonly Total[];
  /** Number of accounts without a balance: forbidden, erased, unknown, or not received yet. */
  readonly missing: number;
};

export function totalsOf(rows: readonly Pick<LiveRow, 'balance' | 'live' | 'disputed'>[]): Totals {
  const totals = new Map<Currency, Total>();
  let missing = 0;
  for (const { balance, live, disputed } of rows) {
    if (balance === null) {
      missing += 1;
      continue;
    }
    const { currency, amount } = balance;
    const total = totals.get(currency);
    totals.set(currency, {
      currency,
      amount: total === undefined ? amount : plus(total.amount, amount),
      included: (total?.included ?? 0) + 1,
      stale: (total?.stale ?? 0) + (live ? 0 : 1),
      disputed: (total?.disputed ?? 0) + (disputed ? 1 : 0),
    });
  }
  const ordered = [...totals.values()].sort((a, b) => orderKey(a).localeCompare(orderKey(b)));
  return { totals: ordered, missing };
}

function orderKey({ currency }: Total): string {
  return currency ?? '\uffff';
}

/** Tells whether a total shows the sum of all watched balances as they are now. */
export function isLiveTotal({ stale }: Total, missing: number): boolean {
  return stale === 0 && missing === 0;
}
