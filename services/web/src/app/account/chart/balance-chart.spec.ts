import { signal } from '@angular/core';
import { TestBed } from '@angular/core/testing';
import type { AccountState, ChartPage, Transfer } from '@livebalance/client';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { GatewayClient } from '../../connection/gateway-client';
import { AccountAddress } from '../account-address';
import { AccountStore } from '../account-store';
import type { Range } from '../address';
import { BalanceChart } from './balance-chart';

const HOUR_MS = 3_600_000;
const START = 10_000 * HOUR_MS;
const timeOf = (revision: number) => new Date(START + 1_000 * revision).toISOString();

/** Returns an account with a transfer of 1 each second, of which the page has the newest `count`. */
function stateOf(revision: number, count: number): AccountState {
  const rows = Array.from({ length: count }, (_, index) => {
    const at = revision - index;
    return { id: `t-${at}`, amount: '1', total: `${at}`, revision: at, occurred_at: timeOf(at), source: '' };
  }) as unknown as readonly Transfer[];
  const older = count === revision ? { kind: 'none' } : { kind: 'cursor', cursor: 'c' };
  const fields = { epoch: 'e', balance: { opening: '0', currency: 'EUR' }, highlightAbove: 0 };
  return { ...fields, revision, rows, older } as unknown as AccountState;
}

/** What uPlot draws with: each method does nothing. */
const CANVAS = new Proxy({}, { get: () => () => ({ width: 0 }) }) as never;

/** Creates a chart, and a gateway that selects about every 18th transfer. */
function createChart(range: Range, revision: number, count: number) {
  const asOf = (at: number) => ({ channel: { asOf: timeOf(at) } });
  const [state, session] = [signal(stateOf(revision, count)), signal(asOf(revision))];
  const chart = vi.fn((_account: string, since: string | null): Promise<ChartPage> => {
    const from = since === null ? 0 : (Date.parse(since) - START) / 1_000 - 1; // the last before it comes first
    const points = [];
    for (let at = Math.max(1, from); at <= state().revision; at += 18)
      points.push({ revision: at, total: `${at}`, recorded_at: timeOf(at) });
    return Promise.resolve({ epoch: 'e', points } as unknown as ChartPage);
  });
  TestBed.configureTestingModule({
    providers: [
      { provide: GatewayClient, useValue: { api: { chart }, session } },
      { provide: AccountStore, useValue: { id: signal('a'), state, live: signal(true) } },
      { provide: AccountAddress, useValue: { range: signal(range) } },
    ],
  });
  const fixture = TestBed.createComponent(BalanceChart);
  const element = fixture.nativeElement as HTMLElement;
  const settle = async () => {
    TestBed.tick();
    await vi.advanceTimersByTimeAsync(300); // the rows are drawn, and the selection is read
    TestBed.tick();
    await vi.advanceTimersByTimeAsync(0);
    TestBed.tick();
  };
  return {
    chart,
    settle,
    change: () =>
      element.querySelector('[data-testid=change] .figure')?.textContent.replaceAll(/\D/g, '') ?? null,
    becomes: async (next: number, rows: number) => {
      vi.setSystemTime(START + 1_000 * next);
      state.set(stateOf(next, rows));
      session.set(asOf(next));
      await settle();
    },
  };
}

describe('BalanceChart', () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: START + HOUR_MS });
    vi.spyOn(HTMLCanvasElement.prototype, 'getContext').mockReturnValue(CANVAS);
    vi.stubGlobal(
      'Path2D',
      class {
        readonly rect = vi.fn();
        readonly moveTo = vi.fn();
        readonly lineTo = vi.fn();
      },
    );
    vi.stubGlobal(
      'ResizeObserver',
      class {
        readonly observe = vi.fn();
        readonly disconnect = vi.fn();
      },
    );
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
    vi.restoreAllMocks();
  });

  it('shows the exact change of the period, also after hours', async () => {
    const { becomes, change } = createChart('1h', 3_600, 50);
    for (const revision of [5_000, 7_200, 7_230, 9_000, 14_430]) {
      await becomes(revision, 2_000);
      // The period begins at a full minute.
      expect(change()).toBe(`${3_601 + (revision % 60)}`);
    }
  });

  it('shows no figures of a period until its older transfers are known', async () => {
    const { chart, settle, change } = createChart('all', 3_600, 50);
    let answer: (page: ChartPage) => void = () => undefined;
    chart.mockReturnValueOnce(new Promise((resolve) => (answer = resolve)));
    await settle();
    expect(change()).toBeNull();
    const points = [{ revision: 1, total: '1', recorded_at: timeOf(1) }];
    answer({ epoch: 'e', points } as unknown as ChartPage);
    await settle();
    expect(change()).toBe('3599');
  });

  it('keeps the last selection while it is read again', async () => {
    const { chart, becomes, change } = createChart('1h', 3_600, 50);
    await becomes(5_000, 2_000);
    chart.mockReturnValueOnce(new Promise(() => undefined));
    await becomes(5_050, 2_000);
    expect(change()).toBe('3671'); // since the beginning of the last selection
  });

  it('begins with the first transfer when more rows are loaded than it draws', async () => {
    const { settle, change } = createChart('all', 3_000, 3_000);
    await settle();
    expect(change()).toBe('2999');
  });

  it('reads no selection if the rows are all there are', async () => {
    const { chart, settle, change } = createChart('all', 100, 100);
    await settle();
    expect([chart.mock.calls.length, change()]).toEqual([0, '99']);
  });
});
