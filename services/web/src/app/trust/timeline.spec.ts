import type { AccountId, Revision } from '@livebalance/client';
import { describe, expect, it } from 'vitest';

import type { Happening, LogEntry } from '../connection/connection-log';
import { timeline } from './timeline';

const [ONE, TWO] = ['acc-1', 'acc-2'] as [AccountId, AccountId];
const revision = (number: number) => number as Revision;
const connected = (gateway: string): Happening => ({
  kind: 'connected',
  gateway,
  session: 's',
  features: [],
});
const lost: Happening = { kind: 'disconnected', reason: 'connection lost', retryInMs: 100 };
const resumed = (account: AccountId, from: number, to: number): Happening => ({
  kind: 'resumed',
  account,
  from: revision(from),
  to: revision(to),
});
const equal = (account: AccountId): Happening => ({
  kind: 'compared',
  account,
  result: 'equal',
  revision: 44,
});

/** Returns the texts for things that happen 100 ms after each other. */
function texts(...happenings: Happening[]): string[] {
  const entries = happenings.map((happening, index): LogEntry => ({
    at: index * 100,
    time: index,
    happening,
  }));
  return timeline(entries).map(({ text }) => text);
}

describe('timeline', () => {
  it('of a killed gateway says what was lost, where the page resumed, and that nothing is missing', () => {
    const killed: Happening = { kind: 'action', text: 'You killed gateway-1' };
    const happenings = [connected('gateway-1'), killed, lost, lost, lost, connected('gateway-2')];
    expect(texts(...happenings, resumed(ONE, 41, 44), equal(ONE))).toEqual([
      'Connected to gateway-1',
      'You killed gateway-1',
      'Socket to gateway-1 lost: connection lost',
      '2 attempts to reconnect failed',
      'Reconnected to gateway-2 after 0.3 s',
      'Resumed acc-1 from revision 41: 3 revisions replayed',
      'Nothing missing: acc-1 equals SQL at revision 44',
    ]);
  });

  it('of several accounts has one sentence for all', () => {
    expect(texts(resumed(ONE, 1, 3), resumed(TWO, 7, 8), equal(ONE), equal(TWO))).toEqual([
      'Resumed 2 accounts: 3 revisions replayed',
      'Nothing missing: 2 accounts equal SQL',
    ]);
    expect(texts(resumed(ONE, 3, 3))).toEqual(['Resumed acc-1 from revision 3: nothing was missed']);
  });

  it('does not say that an account is complete if it differs or was not compared', () => {
    const different: Happening = { kind: 'compared', account: ONE, result: 'different', revision: 4 };
    const unknown: Happening = { kind: 'compared', account: TWO, result: 'unknown', revision: 4 };
    expect(texts(equal(ONE), different, unknown)).toEqual([
      'Nothing missing: acc-1 equals SQL at revision 44',
      'acc-1 differs from SQL',
      'acc-2 could not be compared with SQL',
    ]);
  });

  it('of a page without gateways names the cause once', () => {
    expect(texts(lost, lost, connected('gateway-1'))).toEqual([
      'No gateway has answered: connection lost',
      'An attempt to reconnect failed',
      'Connected to gateway-1',
    ]);
  });

  it('of a page that left all accounts does not count the pause as an interruption', () => {
    const left: Happening = { kind: 'disconnected', reason: 'no account is followed', retryInMs: null };
    expect(texts(connected('gateway-1'), left, connected('gateway-2'))).toEqual([
      'Connected to gateway-1',
      'Socket to gateway-1 closed: no account is followed',
      'Connected to gateway-2',
    ]);
  });

  it('lists each action, also if it is repeated', () => {
    const sent: Happening = { kind: 'action', text: 'You sent a transfer of acc-1' };
    expect(texts(sent, sent)).toHaveLength(2);
  });

  it('names the reason of a snapshot, and gaps with their repair', () => {
    const snapshot: Happening = { kind: 'snapshot', account: ONE, reason: 'too_far', revision: 9 };
    expect(
      texts(snapshot, { kind: 'gap', account: ONE }, { kind: 'repaired', account: ONE, gaps: 1 }),
    ).toEqual([
      'Received a snapshot of acc-1: missed too much',
      'A gap in acc-1: asked the gateway for the missing revisions',
      'The gap in acc-1 is repaired',
    ]);
  });
});
