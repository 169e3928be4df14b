/** The part of the page's address that is about an account: the range of its chart, filters, and the drawer. */

import { accountId, type AccountId } from '@livebalance/client';

export const RANGES = ['1h', '1d', '7d', '30d', '1y', 'all'] as const;
export type Range = (typeof RANGES)[number];

/** Returns the range that the address names, or all if it names none. */
export function rangeOf(text: unknown): Range {
  return RANGES.find((range) => range === text) ?? 'all';
}

/** Returns an account id that an address can name, or null. A browser takes "." and ".." for steps of a path. */
export function linkedAccountId(text: string): AccountId | null {
  return text === '.' || text === '..' ? null : accountId(text);
}

/** Returns a transfer id of the address, or null if it is none. */
export function transferIdOf(text: unknown): string | null {
  return typeof text === 'string' && /^[A-Za-z0-9._-]{1,64}$/.test(text) ? text : null;
}
