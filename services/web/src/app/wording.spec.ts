import { describe, expect, it } from 'vitest';

import { wording } from './wording';

describe('the states of a watchlist', () => {
  it('are spoken for no, all, and some live accounts', () => {
    const { spokenStates } = wording.watchlist;
    expect(spokenStates(0, 0, 0)).toBe('No account is watched.');
    expect(spokenStates(3, 0, 0)).toBe('All 3 watched accounts are live.');
    expect(spokenStates(3, 1, 2)).toBe('1 of 3 watched accounts are not live. Disputed: 2.');
  });
});
