import type { AccountId } from '@livebalance/client';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { reload } from '../connection/gateway-client';
import { addRecentAccount, recentAccounts } from './recent-accounts';

const add = (...ids: string[]) => {
  for (const id of ids) addRecentAccount(id as AccountId);
};

describe('recent accounts', () => {
  afterEach(() => {
    vi.restoreAllMocks();
    sessionStorage.clear();
  });

  it('are the latest five, the latest first', () => {
    add('a', 'b', 'c', 'd', 'e', 'f', 'b');
    expect(recentAccounts()).toEqual(['b', 'f', 'e', 'd', 'c']);
  });

  it('are none if the user has blocked the storage of the site, which also ends reloads', () => {
    vi.spyOn(globalThis, 'sessionStorage', 'get').mockImplementation(() => {
      throw new DOMException('denied', 'SecurityError');
    });
    add('a');
    expect(recentAccounts()).toEqual([]);
    expect(reload).not.toThrow();
  });
});
