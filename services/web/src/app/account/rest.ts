/** The reads over REST. Each has a deadline; whatever goes wrong is one `Unavailable` with words for people. */

import { renew, token } from '../connection/token';
import { BROKEN, decodeAccounts, decodeTransfers } from '../wire/decode';
import type { AccountPage, TransferPage } from '../wire/frame';
import type { AccountId, Revision } from '../wire/identity';

const DEADLINE_MS = 8_000;

export class Unavailable extends Error {}

export const PAGE = 50;

export function readAccounts(prefix: string, limit: number, signal?: AbortSignal): Promise<AccountPage> {
  return read('/api/v1/accounts', { prefix, limit: `${limit}` }, decodeAccounts, signal);
}

/** Older transfers, newest first. */
export function readOlder(account: AccountId, cursor: string): Promise<TransferPage> {
  return read(transfersOf(account), { cursor, limit: `${PAGE}` }, decodeTransfers);
}

/** Transfers after a revision, in order. */
export function readAfter(account: AccountId, after: Revision, limit: number): Promise<TransferPage> {
  return read(transfersOf(account), { after_revision: `${after}`, limit: `${limit}` }, decodeTransfers);
}

function transfersOf(account: AccountId): string {
  return `/api/v1/accounts/${encodeURIComponent(account)}/transfers`;
}

async function read<T>(
  path: string,
  query: Record<string, string>,
  decode: (body: unknown) => T | typeof BROKEN,
  signal?: AbortSignal,
): Promise<T> {
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  const given = signal === undefined ? deadline : AbortSignal.any([signal, deadline]);
  const found = decode(await body(`${path}?${new URLSearchParams(query).toString()}`, given));
  if (found === BROKEN) throw new Unavailable('the gateway was not understood');
  return found;
}

async function ask(url: string, signal: AbortSignal, shown: Promise<string | null>): Promise<Response> {
  const mine = await shown;
  const authorization = mine === null ? {} : { authorization: `Bearer ${mine}` };
  return fetch(url, { signal, headers: { accept: 'application/json', ...authorization } });
}

async function body(url: string, signal: AbortSignal): Promise<unknown> {
  try {
    const first = await ask(url, signal, token());
    const answer = first.status === 401 ? await ask(url, signal, renew()) : first;
    if (!answer.ok) throw new Unavailable(`the gateway answered ${answer.status}`);
    return await answer.json();
  } catch (cause) {
    throw cause instanceof Unavailable ? cause : new Unavailable('the gateway cannot be reached', { cause });
  }
}
