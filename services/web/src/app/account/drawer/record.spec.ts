import { describe, expect, it } from 'vitest';
import { accountId, type Instant, type Money, type Revision } from '@livebalance/client';

import { balancesAround, placeOf, sqlOf } from './record';

describe('placeOf', () => {
  it('splits topic, partition and offset', () => {
    expect(placeOf('bank.transfers_v1/3@5512')).toEqual({
      topic: 'bank.transfers_v1',
      partition: '3',
      offset: '5512',
    });
    expect(placeOf('transfers')).toBeNull();
  });
});

describe('balancesAround', () => {
  it('adds the opening to the running total', () => {
    const row = {
      id: 't-1',
      amount: '-0.000000000000000001' as Money,
      total: '-100.5' as Money,
      occurred_at: '2026-11-24T17:20:00.000Z' as Instant,
      revision: 2 as Revision,
      source: 'transfers/0@1',
    };
    expect(balancesAround('50' as Money, row)).toEqual({ before: '-50.499999999999999999', after: '-50.5' });
  });
});

describe('sqlOf', () => {
  it('names the account and the transfer', () => {
    const sql = sqlOf(accountId('acc-1') ?? expect.fail(), 't_1.x-2');
    expect(sql).toContain("account_id = 'acc-1'\n  and transfer_id = 't_1.x-2';");
  });
});
