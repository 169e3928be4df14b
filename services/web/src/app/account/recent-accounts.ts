/**
 * The accounts that the user has shown lately, the latest first.
 *
 * They are kept for the browser's tab alone: on a shared computer, the next user must not see them.
 */

import { accountId, type AccountId } from '@livebalance/client';

const KEY = 'livebalance.recent';
const MAX_RECENT = 5;

export function recentAccounts(): readonly AccountId[] {
  const ids = (sessionStorage.getItem(KEY) ?? '').split(',');
  return ids.map(accountId).filter((id) => id !== null);
}

export function addRecentAccount(id: AccountId): void {
  const others = recentAccounts().filter((other) => other !== id);
  sessionStorage.setItem(KEY, [id, ...others].slice(0, MAX_RECENT).join(','));
}
