import { minus, type Balance } from '@livebalance/client';

import { direction } from './amount-format';

/** A balance, and how its amount changed last: `none` for the first balance. */
export type BalanceChange = {
  readonly balance: Balance | null;
  readonly direction: ReturnType<typeof direction>;
};

/** Returns how a balance differs from the one before. The same amount again ends no animation of its last change. */
export function balanceChange(balance: Balance | null, previous: BalanceChange | undefined): BalanceChange {
  const before = previous?.balance ?? null;
  if (balance === null || before === null) return { balance, direction: 'none' };
  if (balance.amount === before.amount) return { balance, direction: previous?.direction ?? 'none' };
  return { balance, direction: direction(minus(balance.amount, before.amount)) };
}
