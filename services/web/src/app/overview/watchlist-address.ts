/**
 * The watchlist in the address of the page: `#watch=acc-1,acc-2`.
 *
 * It is a fragment, because browsers send no fragment to a server: it is not limited by the size of a request, and
 * no log keeps which accounts a user watches.
 */

import type { AccountId } from '@livebalance/client';

import { linkedAccountId } from '../account/address';

/** A gateway allows 10 connections of one user with 128 accounts each: this leaves two for other pages. */
export const MAX_WATCHED = 1_000;
const PREFIX = 'watch=';

export type Watchlist = {
  readonly accounts: readonly AccountId[];
  /** Number of entries that were left out: invalid ids, and those beyond `MAX_WATCHED`. */
  readonly ignored: number;
};

/** Reads account ids that are separated by commas or white space. A repeated id counts once. */
export function parseAccounts(text: string): Watchlist {
  const entries = new Set(text.split(/[\s,;]+/).filter((entry) => entry !== ''));
  const valid = [...entries].map(linkedAccountId).filter((id) => id !== null);
  const accounts = valid.slice(0, MAX_WATCHED);
  return { accounts, ignored: entries.size - accounts.length };
}

export function parseFragment(fragment: string | null): Watchlist {
  return parseAccounts(fragment?.startsWith(PREFIX) === true ? fragment.slice(PREFIX.length) : '');
}

/** Returns the fragment of a watchlist; undefined if it is empty. */
export function toFragment(accounts: readonly AccountId[]): string | undefined {
  return accounts.length === 0 ? undefined : PREFIX + accounts.join(',');
}
