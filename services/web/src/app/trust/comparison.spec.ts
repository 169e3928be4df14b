import type {
  AccountState,
  Balance,
  Revision,
  Snapshot,
  Transfer,
  TransferListPage,
} from '@livebalance/client';
import { describe, expect, it } from 'vitest';

import { compare } from './comparison';

const row = (revision: number, fields: Partial<Transfer> = {}) =>
  ({ id: `t-${revision}`, revision, amount: '1.00', total: `${revision}.00`, ...fields }) as Transfer;
const balance = (revision: number, amount: string) => ({ revision, amount }) as Balance;
const state = (revision: number, rows: Transfer[], shown: Balance | null = null) =>
  ({ epoch: 'e', revision, rows, balance: shown, older: { kind: 'none' } }) as unknown as AccountState;
const snapshot = (revision: number, stored: Balance | null = null) =>
  ({ epoch: 'e', revision: revision as Revision, balance: stored }) as Snapshot;
const list = (transfers: Transfer[], next: string | null = null): TransferListPage => ({
  epoch: 'e' as TransferListPage['epoch'],
  transfers,
  next,
});

describe('compare', () => {
  const shown = [row(7), row(6), row(5), row(4)]; // newest first, as on the page

  it('is equal if the page has the same transfers up to the revision that was read', () => {
    expect(compare(state(7, shown), 4, snapshot(6), list([row(5), row(6), row(7)]))).toBe('equal');
  });

  it.each([
    ['a transfer is missing on the page', [row(5), row(6), row(6.5)], 7],
    ['a transfer is only on the page', [row(5)], 6],
    ['an amount differs', [row(5), row(6, { amount: '1.01' as Transfer['amount'] })], 6],
    ['a total differs', [row(5), row(6, { total: '9.99' as Transfer['total'] })], 6],
    ['an id differs', [row(5), row(6, { id: 'other' })], 6],
  ])('is different if %s', (_, stored, revision) => {
    expect(compare(state(7, shown), 4, snapshot(revision), list(stored))).toBe('different');
  });

  it('compares only the transfers of the page that was read', () => {
    expect(compare(state(7, shown), 4, snapshot(7), list([row(5)], 'more'))).toBe('equal');
  });

  it('is unknown if the page does not hold the revision yet, or holds another epoch', () => {
    expect(compare(state(5, [row(5)]), 4, snapshot(6), list([row(5), row(6)]))).toBe('unknown');
    expect(compare(state(7, shown), 4, { ...snapshot(6), epoch: 'f' as Snapshot['epoch'] }, list([]))).toBe(
      'unknown',
    );
  });

  it('is unknown if the page has dropped transfers that would be compared', () => {
    const older = { kind: 'below', revision: 6 as Revision } as const;
    const after = (from: number, stored: Transfer[]) =>
      compare({ ...state(7, [row(7), row(6)]), older }, from, snapshot(7), list(stored));
    expect(after(4, [row(5), row(6), row(7)])).toBe('unknown');
    expect(after(5, [row(6), row(7)])).toBe('equal');
  });

  it('compares the balances of the same revision', () => {
    const rows = list([row(5), row(6), row(7)]);
    const compareBalances = (mine: Balance | null, stored: Balance) =>
      compare(state(7, shown, mine), 4, snapshot(7, stored), rows);
    expect(compareBalances(balance(6, '5.00'), balance(6, '5.0'))).toBe('equal');
    expect(compareBalances(balance(6, '5.00'), balance(6, '5.01'))).toBe('different');
    expect(compareBalances(balance(5, '4.00'), balance(6, '5.00'))).toBe('different');
    expect(compareBalances(null, balance(6, '5.00'))).toBe('different');
    expect(compareBalances(balance(7, '6.00'), balance(6, '5.00'))).toBe('equal');
  });
});
