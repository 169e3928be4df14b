import { signal } from '@angular/core';
import { TestBed } from '@angular/core/testing';
import type { AccountState, SearchPage, Transfer } from '@livebalance/client';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { GatewayClient } from '../../connection/gateway-client';
import { AccountAddress } from '../account-address';
import { AccountStore } from '../account-store';
import { Today } from '../today';
import { filterOf } from './filter';
import { TransferSearch } from './search';

/** Number of rows that the state keeps. */
const KEPT = 100;

const row = (revision: number) => ({ id: `t-${revision}`, amount: '1', revision }) as unknown as Transfer;

function stateOf(revision: number): AccountState {
  const rows = Array.from({ length: Math.min(revision, KEPT) }, (_, index) => row(revision - index));
  const older = revision <= KEPT ? { kind: 'none' } : { kind: 'below', revision: revision - KEPT + 1 };
  return { epoch: 'e', revision, rows, older, missing: null, highlightAbove: 0 } as unknown as AccountState;
}

/** Creates a search of an account, and a gateway that knows when each transfer was recorded. */
function createSearch(
  parameters: Record<string, string>,
  recordedAt: (revision: number) => number = () => 0,
) {
  const [state, today] = [signal(stateOf(10)), signal('')];
  const search = vi.fn((_account: string, { from, to }: Record<string, string>): Promise<SearchPage> => {
    const { revision } = state();
    const passes = (at: number) => (!from || at >= Date.parse(from)) && (!to || at < Date.parse(to));
    const all = Array.from({ length: revision }, (_, index) => row(revision - index));
    const transfers = all.filter((transfer) => passes(recordedAt(transfer.revision)));
    return Promise.resolve({ epoch: 'e', revision, transfers, next: null } as unknown as SearchPage);
  });
  TestBed.configureTestingModule({
    providers: [
      { provide: GatewayClient, useValue: { api: { search } } },
      { provide: Today, useValue: { date: today } },
      { provide: AccountStore, useValue: { id: signal('a'), state } },
      { provide: AccountAddress, useValue: { filter: signal(filterOf(parameters)) } },
    ],
  });
  const found = TestBed.inject(TransferSearch);
  const settle = async () => {
    TestBed.tick();
    await new Promise((resolve) => setTimeout(resolve));
    TestBed.tick();
  };
  return {
    search,
    settle,
    revisions: () => found.rows()?.map(({ revision }) => Number(revision)) ?? null,
    becomes: async (revision: number) => {
      state.set(stateOf(revision));
      await settle();
    },
    passesTo: async (time: Date) => {
      vi.setSystemTime(time);
      today.set(time.toDateString());
      await settle();
    },
  };
}

describe('TransferSearch', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it.each([50, 250])('keeps all that passes while %d transfers arrive at once', async (step) => {
    const { search, settle, revisions, becomes } = createSearch({ min: '1' });
    await settle();
    for (let revision = 10; revision <= 1_010; revision += step) await becomes(revision);
    expect(revisions()).toEqual(Array.from({ length: 1_010 }, (_, index) => 1_010 - index));
    if (step < KEPT) expect(search).toHaveBeenCalledOnce();
  });

  it('keeps transfers of yesterday that arrived live, and adds none of today to them', async () => {
    vi.useFakeTimers({ now: new Date(2026, 5, 1, 23, 59), toFake: ['Date'] });
    const recordedAt = (revision: number) => new Date(2026, 5, revision <= 11 ? 1 : 2).getTime();
    const { settle, revisions, becomes, passesTo } = createSearch({ to: '2026-06-01' }, recordedAt);
    await settle();
    await becomes(11);
    await passesTo(new Date(2026, 5, 2, 0, 1));
    await becomes(12);
    expect(revisions()?.slice(0, 2)).toEqual([11, 10]);
  });

  it('leaves out transfers of a night in which the computer slept', async () => {
    vi.useFakeTimers({ now: new Date(2026, 5, 1, 20), toFake: ['Date'] });
    const recordedAt = () => new Date(2026, 5, 1, 21).getTime();
    const { settle, revisions, becomes, passesTo } = createSearch({ from: '2026-06-02' }, recordedAt);
    await settle();
    vi.setSystemTime(new Date(2026, 5, 2, 8));
    await becomes(11);
    await passesTo(new Date(2026, 5, 2, 8));
    expect(revisions()).toEqual([]);
  });
});
