import { accountId, type AccountId } from '@livebalance/client';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { linkedAccountId } from '../account/address';
import { MAX_WATCHED, parseAccounts, parseFragment, toFragment } from './watchlist-address';

const id = fc
  .stringMatching(/^[A-Za-z0-9._-]{1,64}$/)
  .map((text) => linkedAccountId(text))
  .filter((account) => account !== null);

describe('the address of a watchlist', () => {
  it('names the same accounts in the same order after a reload', () => {
    fc.assert(
      fc.property(fc.uniqueArray(id, { maxLength: 200 }), (accounts: AccountId[]) => {
        const fragment = toFragment(accounts) ?? null;
        expect(parseFragment(fragment)).toEqual({ accounts, ignored: 0 });
        expect(encodeURI(fragment ?? '')).toBe(fragment ?? ''); // a browser changes nothing in it
      }),
    );
  });

  it('ignores every entry that is no account id, and never throws', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 0xffff })), (units) => {
        const { accounts } = parseFragment(`watch=${String.fromCharCode(...units)}`);
        expect(accounts.every((account) => accountId(account) !== null)).toBe(true);
      }),
    );
    expect(parseFragment('watch=a,<script>,b,,a,%2F, c')).toEqual({ accounts: ['a', 'b', 'c'], ignored: 2 });
    expect(parseFragment('watch=.,..,...')).toEqual({ accounts: ['...'], ignored: 2 }); // links to no account
    expect(parseFragment('unwatch=a')).toEqual({ accounts: [], ignored: 0 });
    expect(parseFragment(null)).toEqual({ accounts: [], ignored: 0 });
  });

  it('has at most as many accounts as the connections of a user can follow', () => {
    const text = Array.from({ length: MAX_WATCHED + 7 }, (_, index) => `a${index}`).join('\n');
    const { accounts, ignored } = parseAccounts(text);
    expect([accounts.length, ignored]).toEqual([MAX_WATCHED, 7]);
  });
});
