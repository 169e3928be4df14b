/** Reads over REST. Each read has a timeout, and rejects with `Unavailable` if it fails. */

import { renewToken, token } from '../connection/token';
import { INVALID, decodeAccounts, decodeTransfers } from '../wire/decode';
import type { AccountListPage, TransferListPage } from '../wire/frame';
import type { AccountId, Revision } from '../wire/identity';

const TIMEOUT_MS = 8_000;
const OLDER_PAGE_ROWS = 50;

export class Unavailable extends Error {}

export function fetchAccounts(prefix: string, limit: number, signal?: AbortSignal): Promise<AccountListPage> {
  return read('/api/v1/accounts', { prefix, limit: `${limit}` }, decodeAccounts, signal);
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
  signal?: AbortSignal,
): Promise<T> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const anySignal = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
  const result = decode(await fetchJson(`${path}?${new URLSearchParams(query).toString()}`, anySignal));
  if (result === INVALID) throw new Unavailable('the gateway sent an invalid response');
  return result;
}

/** Fetches a JSON body. If the gateway rejects the token, it tries once more with a new token. */
async function fetchJson(url: string, signal: AbortSignal): Promise<unknown> {
  try {
    const first = await fetchWithToken(url, signal, token());
    const response = first.status === 401 ? await fetchWithToken(url, signal, renewToken()) : first;
    if (!response.ok) throw new Unavailable(`the gateway responded with status ${response.status}`);
    return await response.json();
  } catch (error) {
    throw error instanceof Unavailable
      ? error
      : new Unavailable('the gateway is unreachable', { cause: error });
  }
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
