import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Api, Unavailable } from './api.js';
import { Token } from './token.js';

const EMPTY = { accounts: [], next: null };

function rejected(status: number, retryAfter: string | null): Response {
  return new Response('{}', { status, headers: retryAfter === null ? {} : { 'retry-after': retryAfter } });
}

/** Answers reads with these responses, in order, and records the time of each read. */
function answer(...responses: Response[]): number[] {
  const times: number[] = [];
  vi.stubGlobal('fetch', () => {
    times.push(Date.now());
    return Promise.resolve(responses.shift() ?? Response.json(EMPTY));
  });
  return times;
}

const api = new Api(new URL('http://gateway.test'), new Token(() => Promise.resolve(null)));

describe('a read over REST', () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: Date.UTC(2026, 0, 1) });
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  it.each([
    [429, '2'],
    [503, '2'],
    [429, 'Thu, 01 Jan 2026 00:00:02 GMT'],
  ])('that is rejected with %i is repeated after Retry-After: %s', async (status, retryAfter) => {
    const times = answer(rejected(status, retryAfter));
    const read = api.accounts('', 1);
    await vi.runAllTimersAsync();
    expect(await read).toMatchObject(EMPTY);
    const [first = 0, second = 0] = times;
    expect(times).toHaveLength(2);
    expect(second - first).toBeGreaterThanOrEqual(2_000);
    expect(second - first).toBeLessThanOrEqual(3_000);
  });

  it.each([
    [429, null],
    [503, 'soon'],
    [409, '1'],
  ])('that is rejected with %i and Retry-After: %s fails', async (status, retryAfter) => {
    const times = answer(rejected(status, retryAfter));
    await expect(api.accounts('', 1)).rejects.toThrow(Unavailable);
    expect(times).toHaveLength(1);
  });

  it('returns the time of the gateway, if it sends one', async () => {
    const date = 'Thu, 01 Jan 2026 00:00:30 GMT';
    answer(Response.json(EMPTY, { headers: { date } }));
    const read = api.accounts('', 1);
    await vi.runAllTimersAsync();
    expect(await read).toMatchObject({ serverTime: Date.parse(date) });
  });

  it('that waits ends when it is aborted', async () => {
    answer(rejected(429, '5'));
    const controller = new AbortController();
    const read = api.accounts('', 1, controller.signal);
    const failure = expect(read).rejects.toThrow(Unavailable);
    await vi.advanceTimersByTimeAsync(1);
    controller.abort();
    await failure;
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('transfers over REST', () => {
  afterEach(() => {
    vi.unstubAllGlobals();
  });
  const transfer = {
    id: 't-1',
    amount: '-1.50',
    total: '3.25',
    occurred_at: '2026-01-01T00:00:00.000Z',
    revision: 7,
    source: 'transfers/0@5',
  };
  const position = { epoch: '00000000000000a1', revision: 9 };

  /** Answers with a body, and returns the URL that was read. */
  function answerOnce(response: Response): () => string {
    let url = '';
    vi.stubGlobal('fetch', (requested: URL) => {
      url = requested.href;
      return Promise.resolve(response);
    });
    return () => url;
  }

  it('have the time of Kafka if the gateway sends it', async () => {
    answerOnce(Response.json({ ...transfer, recorded_at: '2026-01-01T00:00:01.000Z' }));
    expect((await api.transfer('a', 't-1')).recorded_at).toBe('2026-01-01T00:00:01.000Z');
    answerOnce(Response.json(transfer));
    expect(await api.transfer('a', 't-1')).toEqual(transfer);
  });

  it('are searched with the conditions', async () => {
    const url = answerOnce(Response.json({ ...position, transfers: [transfer], next: null }));
    expect((await api.search('a', { direction: 'out', id: 't' })).transfers).toEqual([transfer]);
    expect(url()).toBe('http://gateway.test/api/v1/accounts/a/search?direction=out&id=t');
  });

  it('are points of a chart', async () => {
    const points = [{ revision: 7, total: '3.25', recorded_at: '2026-01-01T00:00:01.000Z' }];
    const url = answerOnce(Response.json({ ...position, points }));
    expect((await api.chart('a', '2026-01-01T00:00:00.000Z', 2)).points).toEqual(points);
    expect(url()).toContain('/chart?points=2&from=2026-01-01T00%3A00%3A00.000Z');
  });

  it('are downloaded as CSV, or fail', async () => {
    answerOnce(new Response('line,revision\r\n'));
    expect(await (await api.searchCsv('a', {})).text()).toBe('line,revision\r\n');
    answerOnce(new Response('', { status: 410 }));
    await expect(api.searchCsv('a', {})).rejects.toThrow(Unavailable);
  });
});
