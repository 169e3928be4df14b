import { TestBed } from '@angular/core/testing';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { OverviewStore } from './overview-store';

const NOW = Date.UTC(2026, 0, 1);

/** Answers each read of the list with `respond`. Returns the times of the reads. */
function answer(respond: () => Promise<Response>): number[] {
  const times: number[] = [];
  vi.stubGlobal('fetch', (url: string | URL) => {
    if (String(url).includes('/api/demo')) return Promise.resolve(new Response('', { status: 404 }));
    times.push(Date.now() - NOW);
    return respond();
  });
  return times;
}

function accounts(): Promise<Response> {
  const body = { accounts: [], next: null, as_of: new Date(NOW - 2_000).toISOString() };
  return Promise.resolve(Response.json(body, { headers: { date: new Date(NOW).toUTCString() } }));
}

/** Refreshes once a second, as the overview does. */
async function refreshFor(store: OverviewStore, seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second += 1) {
    void store.refresh();
    await vi.advanceTimersByTimeAsync(1_000);
  }
}

describe('OverviewStore', () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: NOW });
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  it('reads twice a minute', async () => {
    const times = answer(accounts);
    await refreshFor(TestBed.inject(OverviewStore), 62);
    expect(times).toEqual([0, 30_000, 60_000]);
  });

  it('begins no read while another runs', async () => {
    const times = answer(() => new Promise<Response>(() => undefined));
    await refreshFor(TestBed.inject(OverviewStore), 60);
    expect(times).toEqual([0]);
  });

  it('keeps the accounts while reads fail', async () => {
    answer(accounts);
    const store = TestBed.inject(OverviewStore);
    await refreshFor(store, 1);
    expect(store.failed()).toBe(false);
    const times = answer(() => Promise.reject(new TypeError('unreachable')));
    await refreshFor(store, 90);
    expect([store.failed(), store.listed()?.accounts]).toEqual([true, []]);
    expect(times.length).toBeGreaterThan(5);
    expect(times.length).toBeLessThan(40);
  });
});
