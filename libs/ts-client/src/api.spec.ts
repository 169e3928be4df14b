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
