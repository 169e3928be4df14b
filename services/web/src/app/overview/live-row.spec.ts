import type { AccountView, Balance, Channel, Session } from '@livebalance/client';
import { describe, expect, it } from 'vitest';

import { liveRow } from './live-row';

const NOW = 100_000;
const TIME = new Date(NOW - 1_000).toISOString();
const ACCOUNT = 'a' as AccountView['account'];

function balance(amount: string, fields: Partial<Balance> = {}): Balance {
  return { amount, currency: 'EUR', drift: null, disputed_since: null, ...fields } as Balance;
}

function view(current: Balance | null, fields: Partial<AccountView> = {}): AccountView {
  const state = { epoch: 'e', balance: current, rows: [], revision: current === null ? 0 : 1 };
  return { account: ACCOUNT, state, asOf: TIME, forbidden: false, ...fields } as unknown as AccountView;
}

function session(phase: object, connection: object = { kind: 'open' }): Session {
  const channel = { account: ACCOUNT, phase, asOf: TIME } as unknown as Channel;
  const open = { status: { state: 'live' }, heartbeatMs: 10_000, ...connection };
  return {
    connection: open,
    channels: new Map([[ACCOUNT, channel]]),
    clockSkew: 0,
    hidden: false,
  } as unknown as Session;
}

const LIVE = session({ kind: 'subscribed' });

describe('a row of the overview', () => {
  it('is live only while the gateway confirms its balance', () => {
    expect(liveRow(view(balance('1')), LIVE, NOW).live).toBe(true);
    expect(liveRow(view(balance('1')), LIVE, NOW + 60_000).live).toBe(false);
    expect(liveRow(view(balance('1')), session({ kind: 'subscribing' }), NOW).live).toBe(false);
    const waiting = session({ kind: 'subscribed' }, { kind: 'waiting', until: NOW, reason: 'lost' });
    expect(liveRow(view(balance('1')), waiting, NOW).live).toBe(false);
  });

  it('shows the change since the first balance', () => {
    const first = liveRow(view(balance('10.00')), LIVE, NOW);
    const next = liveRow(view(balance('7.5')), LIVE, NOW, first);
    expect([first.change, next.change]).toEqual(['0.00', '-2.50']);
    expect(liveRow(view(balance('7.5', { currency: 'JPY' })), LIVE, NOW, next).change).toBeNull();
  });

  it('shows no change since a balance before the account was erased, or of another epoch', () => {
    const before = liveRow(view(balance('5000.00')), LIVE, NOW);
    const erased = liveRow(view(null), LIVE, NOW, before);
    expect(liveRow(view(balance('1.00')), LIVE, NOW, erased).change).toBe('0.00');
    const restored = view(balance('1.00'));
    const state = { ...restored.state, epoch: 'f' } as AccountView['state'];
    expect(liveRow({ ...restored, state }, LIVE, NOW, before).change).toBe('0.00');
  });

  it('keeps nothing of an account that the user may not see any more', () => {
    const before = liveRow(view(balance('10.00')), LIVE, NOW);
    const rejected = session({ kind: 'rejected', code: 'revoked', message: '' });
    const after = liveRow(view(null, { state: null, forbidden: true }), rejected, NOW, before);
    expect([after.balance, after.first, after.change, after.status.state]).toEqual([
      null,
      null,
      null,
      'rejected',
    ]);
  });

  it('says that there is no such account, and is disputed if its records contradict each other', () => {
    expect(liveRow(view(null), LIVE, NOW).status.text).toBe('There is no such account');
    const isDisputed = (fields: Partial<Balance>) => liveRow(view(balance('1', fields)), LIVE, NOW).disputed;
    expect(isDisputed({ drift: '0.00' as Balance['drift'] })).toBe(false);
    expect(isDisputed({ drift: '0.01' as Balance['drift'] })).toBe(true);
    expect(isDisputed({ disputed_since: TIME as Balance['disputed_since'] })).toBe(true);
  });

  it('is the same object if nothing has changed', () => {
    const state = view(balance('1'));
    const row = liveRow(state, LIVE, NOW);
    expect(liveRow(state, LIVE, NOW, row)).toBe(row);
  });
});
