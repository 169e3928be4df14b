/**
 * The accounts that the user has shown lately, the latest first.
 *
 * They are kept for the browser's tab alone: on a shared computer, the next user must not see them.
 */

import type { AccountId } from '@livebalance/client';

import { linkedAccountId } from './address';

const KEY = 'livebalance.recent';
const MAX_RECENT = 5;

export function recentAccounts(): readonly AccountId[] {
  try {
    const ids = (sessionStorage.getItem(KEY) ?? '').split(',');
    return ids.map(linkedAccountId).filter((id) => id !== null);
  } catch {
    return []; // the user has blocked the storage of this site
  }
}

export function addRecentAccount(id: AccountId): void {
  const others = recentAccounts().filter((other) => other !== id);
  try {
    sessionStorage.setItem(KEY, [id, ...others].slice(0, MAX_RECENT).join(','));
  } catch {
    // The user has blocked the storage of this site: nothing is kept.
  }
}
