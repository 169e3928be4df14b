/**
 * Reads over REST. Each read has a timeout, and rejects with `Unavailable` if it fails. If the gateway asks
 * with `Retry-After` to wait (429, 503), the read is repeated then, as long as its timeout allows.
 */

import type { Token } from './token.js';
import {
  INVALID,
  decodeAccounts,
  decodeChart,
  decodeSearch,
  decodeSnapshot,
  decodeTransfer,
  decodeTransfers,
} from './wire/decode.js';
import type {
  AccountListPage,
  ChartPage,
  SearchPage,
  Snapshot,
  TransferDetail,
  TransferListPage,
} from './wire/frame.js';

const TIMEOUT_MS = 8_000;
const DOWNLOAD_TIMEOUT_MS = 65_000;
const OLDER_PAGE_ROWS = 500;
const BUSY: ReadonlySet<number> = new Set([429, 503]);
/** 409 means that the account has not reached the requested revision yet. */
const NOT_YET: ReadonlySet<number> = new Set([409, ...BUSY]);

/** A read failed. `status` is the HTTP status, or null if the gateway was unreachable. */
export class Unavailable extends Error {
  constructor(
    message: string,
    readonly status: number | null = null,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** A page of accounts, and the gateway's time of the response in milliseconds; null if it is unknown. */
export type AccountList = AccountListPage & { readonly serverTime: number | null };

type Answer<T> = { readonly result: T; readonly serverTime: number | null };
type Query = Readonly<Record<string, string>>;
type ReadOptions = { readonly signal?: AbortSignal | undefined; readonly repeatAfter?: ReadonlySet<number> };

/** The REST API of a gateway. */
export class Api {
  readonly #origin: URL;
  readonly #token: Token;

  constructor(origin: URL, token: Token) {
    this.#origin = origin;
    this.#token = token;
  }

  /** Reads the first accounts whose id starts with `prefix`. */
  async accounts(prefix: string, limit: number, signal?: AbortSignal): Promise<AccountList> {
    const query = { prefix, limit: `${limit}` };
    const { result, serverTime } = await this.#readDated('/api/v1/accounts', query, decodeAccounts, {
      signal,
    });
    return { ...result, serverTime };
  }

  /** Reads the state of an account at `minRevision` or later. */
  account(account: string, minRevision = 0, signal?: AbortSignal): Promise<Snapshot> {
    const query = { min_revision: `${minRevision}` };
    return this.#read(accountPath(account), query, decodeSnapshot, { signal, repeatAfter: NOT_YET });
  }

  /** Reads one transfer. */
  transfer(account: string, id: string, signal?: AbortSignal): Promise<TransferDetail> {
    return this.#read(`${transfersPath(account)}/${encodeURIComponent(id)}`, {}, decodeTransfer, { signal });
  }

  /** Reads a page of the transfers that match a query, newest first. The query has the names of the REST API. */
  search(account: string, query: Query, signal?: AbortSignal): Promise<SearchPage> {
    return this.#read(`${accountPath(account)}/search`, query, decodeSearch, { signal });
  }

  /** Reads the points of a chart: up to `points` + 1 transfers since a time, and the last transfer before it. */
  chart(account: string, since: string | null, points: number, signal?: AbortSignal): Promise<ChartPage> {
    const query = { points: `${points}`, ...(since === null ? {} : { from: since }) };
    return this.#read(`${accountPath(account)}/chart`, query, decodeChart, { signal });
  }

  /** Reads all transfers that match a query, newest first, as a CSV file. Rejects if the file is incomplete. */
  async searchCsv(account: string, query: Query): Promise<Blob> {
    const url = new URL(`${accountPath(account)}/search.csv`, this.#origin);
    url.search = new URLSearchParams(query).toString();
    const signal = AbortSignal.timeout(DOWNLOAD_TIMEOUT_MS);
    return (await this.#fetch(url, signal, BUSY, (response) => response.blob())).body;
  }

  /** Reads the transfers behind a cursor, newest first. */
  olderTransfers(account: string, cursor: string): Promise<TransferListPage> {
    return this.#read(transfersPath(account), { cursor, limit: `${OLDER_PAGE_ROWS}` }, decodeTransfers);
  }

  /** Reads the transfers after a revision, oldest first. */
  transfersAfter(account: string, after: number, limit: number): Promise<TransferListPage> {
    return this.#read(
      transfersPath(account),
      { after_revision: `${after}`, limit: `${limit}` },
      decodeTransfers,
    );
  }

  async #read<T>(
    path: string,
    query: Query,
    decode: (body: unknown) => T | typeof INVALID,
    options?: ReadOptions,
  ): Promise<T> {
    return (await this.#readDated(path, query, decode, options)).result;
  }

  async #readDated<T>(
    path: string,
    query: Query,
    decode: (body: unknown) => T | typeof INVALID,
    { signal, repeatAfter = BUSY }: ReadOptions = {},
  ): Promise<Answer<T>> {
    const url = new URL(`${path}?${new URLSearchParams(query).toString()}`, this.#origin);
    const timeout = AbortSignal.timeout(TIMEOUT_MS);
    const anySignal = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
    const { body, date } = await this.#fetch<unknown>(url, anySignal, repeatAfter, (response) =>
      response.json(),
    );
    const result = decode(body);
    if (result === INVALID) throw new Unavailable('the gateway sent an invalid response');
    const serverTime = Date.parse(date ?? '');
    return { result, serverTime: Number.isNaN(serverTime) ? null : serverTime };
  }

  /** Fetches a body and its `Date`. If the gateway rejects the token, it tries once more with a new token. */
  async #fetch<T>(
    url: URL,
    signal: AbortSignal,
    repeatAfter: ReadonlySet<number>,
    read: (response: Response) => Promise<T>,
  ): Promise<{ body: T; date: string | null }> {
    try {
      let response = await fetchWithToken(url, signal, this.#token.get());
      if (response.status === 401) response = await fetchWithToken(url, signal, this.#token.renew());
      while (repeatAfter.has(response.status)) {
        const wait = retryAfterMs(response);
        if (wait === null) break;
        await delay(wait, signal);
        response = await fetchWithToken(url, signal, this.#token.get());
      }
      const { ok, status } = response;
      if (!ok) throw new Unavailable(`the gateway responded with status ${status}`, status);
      return { body: await read(response), date: response.headers.get('date') };
    } catch (error) {
      throw error instanceof Unavailable
        ? error
        : new Unavailable('the gateway is unreachable', null, { cause: error });
    }
  }
}

function accountPath(account: string): string {
  return `/api/v1/accounts/${encodeURIComponent(account)}`;
}

function transfersPath(account: string): string {
  return `${accountPath(account)}/transfers`;
}

/** Returns the wait that a rejection asks for (RFC 9110 §10.2.3), with jitter; null if it asks for none. */
function retryAfterMs(response: Response): number | null {
  const value = response.headers.get('retry-after');
  if (value === null) return null;
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
  url: URL,
  signal: AbortSignal,
  pendingToken: Promise<string | null>,
): Promise<Response> {
  const accessToken = await pendingToken;
  const authorization = accessToken === null ? {} : { authorization: `Bearer ${accessToken}` };
  return fetch(url, { signal, headers: { accept: 'application/json', ...authorization } });
}
