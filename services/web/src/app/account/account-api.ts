/**
 * Reads over REST. Each read has a timeout, and rejects with `Unavailable` if it fails. If the gateway asks
 * with `Retry-After` to wait (429, 503), the read is repeated then, as long as its timeout allows.
 */

import { renewToken, token } from '../connection/token';
import { INVALID, decodeAccounts, decodeTransfers } from '../wire/decode';
import type { AccountListPage, TransferListPage } from '../wire/frame';
import type { AccountId, Revision } from '../wire/identity';

const TIMEOUT_MS = 8_000;
const OLDER_PAGE_ROWS = 50;

export class Unavailable extends Error {}

/** A page of accounts, and the gateway's time of the response in milliseconds; null if it is unknown. */
export type AccountList = AccountListPage & { readonly serverTime: number | null };

export async function fetchAccounts(
  prefix: string,
  limit: number,
  signal?: AbortSignal,
): Promise<AccountList> {
  const query = { prefix, limit: `${limit}` };
  const { result, serverTime } = await readWithTime('/api/v1/accounts', query, decodeAccounts, signal);
  return { ...result, serverTime };
}

/** Fetches the transfers behind a cursor, newest first. */
export function fetchOlderTransfers(account: AccountId, cursor: string): Promise<TransferListPage> {
  return read(transfersPath(account), { cursor, limit: `${OLDER_PAGE_ROWS}` }, decodeTransfers);
}

/** Fetches the transfers after a revision, oldest first. */
export function fetchTransfersAfter(
  account: AccountId,
  after: Revision,
  limit: number,
): Promise<TransferListPage> {
  return read(transfersPath(account), { after_revision: `${after}`, limit: `${limit}` }, decodeTransfers);
}

function transfersPath(account: AccountId): string {
  return `/api/v1/accounts/${encodeURIComponent(account)}/transfers`;
}

async function read<T>(
  path: string,
  query: Record<string, string>,
  decode: (body: unknown) => T | typeof INVALID,
): Promise<T> {
  return (await readWithTime(path, query, decode)).result;
}

async function readWithTime<T>(
  path: string,
  query: Record<string, string>,
  decode: (body: unknown) => T | typeof INVALID,
  signal?: AbortSignal,
): Promise<{ result: T; serverTime: number | null }> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const anySignal = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
  const { body, date } = await fetchJson(`${path}?${new URLSearchParams(query).toString()}`, anySignal);
  const result = decode(body);
  if (result === INVALID) throw new Unavailable('the gateway sent an invalid response');
  const serverTime = Date.parse(date ?? '');
  return { result, serverTime: Number.isNaN(serverTime) ? null : serverTime };
}

/** Fetches a JSON body and its `Date`. If the gateway rejects the token, it tries once more with a new token. */
async function fetchJson(url: string, signal: AbortSignal): Promise<{ body: unknown; date: string | null }> {
  try {
    let response = await fetchWithToken(url, signal, token());
    if (response.status === 401) response = await fetchWithToken(url, signal, renewToken());
    for (let wait = retryAfterMs(response); wait !== null; wait = retryAfterMs(response)) {
      await delay(wait, signal);
      response = await fetchWithToken(url, signal, token());
    }
    if (!response.ok) throw new Unavailable(`the gateway responded with status ${response.status}`);
    return { body: (await response.json()) as unknown, date: response.headers.get('date') };
  } catch (error) {
    throw error instanceof Unavailable
      ? error
      : new Unavailable('the gateway is unreachable', { cause: error });
  }
}

/** Returns the wait that a rejection asks for (RFC 9110 §10.2.3), with jitter; null if it asks for none. */
function retryAfterMs(response: Response): number | null {
  const value = response.headers.get('retry-after');
  if (value === null || (response.status !== 429 && response.status !== 503)) return null;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isNaN(ms) ? null : Math.max(ms, 1000) * (1 + Math.random() / 2);
}

/** Resolves after `ms`, or rejects when the signal aborts. */
function delay(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    const abort = (): void => {
      clearTimeout(timer);
      reject(new DOMException('the read has ended', 'AbortError'));
    };
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
  });
}

async function fetchWithToken(
  url: string,
  signal: AbortSignal,
  pendingToken: Promise<string | null>,
): Promise<Response> {
  const accessToken = await pendingToken;
  const authorization = accessToken === null ? {} : { authorization: `Bearer ${accessToken}` };
  return fetch(url, { signal, headers: { accept: 'application/json', ...authorization } });
}
