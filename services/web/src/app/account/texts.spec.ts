import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { Machine } from '../connection/state';
import { ACCOUNT, World } from '../connection/world.fake';
import type { Transfer } from '../wire/frame';
import type { Instant } from '../wire/identity';
import { money, ofParts, parts, type Money } from '../wire/money';
import { AmountFormat, direction } from './amount';
import { sparkline } from './sparkline';
import { ageMs, ago, words } from './words';

const amount = (text: string): Money => money(text) ?? expect.fail(`${text} is an amount`);

describe('amounts', () => {
  const english = new AmountFormat('en-GB');

  it('are written exactly, however long', () => {
    expect(english.write(amount('92233720368547758.07'), 'EUR')).toBe('€92,233,720,368,547,758.07');
    expect(english.write(amount('-0.000000000000000001'), null)).toBe('-0.000000000000000001');
    expect(new AmountFormat('de-DE').write(amount('1234.50'), 'EUR')).toBe('1.234,50\u00a0€');
  });

  it('keep every digit', () => {
    const any = fc.record({
      unscaled: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      scale: fc.nat(18),
    });
    fc.assert(
      fc.property(any, (value) => {
        const text = english.write(ofParts(value), null).replaceAll(',', '');
        expect(parts(amount(text))).toEqual(value);
      }),
    );
  });

  it('say which way the money went', () => {
    expect(english.write(amount('12.50'), 'EUR', 'always')).toBe('+€12.50');
    expect(english.write(amount('0.00'), 'EUR', 'always')).toBe('€0.00');
    expect([direction(amount('0.01')), direction(amount('-0.01')), direction(amount('0.00'))]).toEqual([
      'credit',
      'debit',
      'none',
    ]);
  });

  it('leave out what is no currency', () => {
    expect(english.write(amount('5'), 'points')).toBe('5');
  });
});

describe('the line', () => {
  const row = (total: string) => ({ total: amount(total) }) as Transfer;

  it('goes from the oldest to the newest, at whatever scale', () => {
    expect(sparkline([row('1.00'), row('0.5'), row('0')], { width: 100, height: 10 })).toBe(
      'M0 10L50 5L100 0',
    );
  });

  it('is flat where nothing moved, and absent with one row', () => {
    expect(sparkline([row('1'), row('1')], { width: 10, height: 10 })).toBe('M0 10L10 10');
    expect(sparkline([row('1')], { width: 10, height: 10 })).toBe('');
  });
});

describe('the connection in words', () => {
  const at = (ms: number) => new Date(ms).toISOString() as Instant;

  /** An open connection that follows its account, by a gateway whose clock is 1,000,000 ms ahead. */
  function following(asOfAge: number | null, status: 'live' | 'catching_up' | 'stalled' = 'live'): Machine {
    const world = new World();
    world.accept();
    world.deliver();
    const { machine } = world;
    if (machine.link.kind !== 'open' || machine.channel === null) expect.fail('open');
    return {
      skew: 1_000_000,
      hidden: false,
      link: {
        ...machine.link,
        status: { state: status, ...(status === 'stalled' ? { reason: 'history lost' } : {}) },
      },
      channel: {
        ...machine.channel,
        asOf: asOfAge === null ? null : at(1_000_000 - asOfAge),
        phase: { kind: 'following' },
      },
    };
  }

  it('is live only while somebody vouches for it', () => {
    expect(words(following(3_000), 0)).toEqual({ state: 'live', text: 'live' });
    expect(words(following(3_000), 30_000).state).toBe('stalled');
    expect(words(following(3_000, 'stalled'), 0).text).toBe('stalled: history lost');
    expect(words(following(3_000, 'catching_up'), 0).text).toBe('catching up');
  });

  it('counts down to the next attempt', () => {
    const world = new World();
    const link = { kind: 'waiting', attempt: 3, until: 2_500, why: 'the gateway is busy' } as const;
    const waiting = { ...world.machine, link };
    expect(words(waiting, 0)).toMatchObject({ text: 'reconnecting in 3 s', detail: 'the gateway is busy' });
    expect(words(waiting, 2_400).text).toBe('reconnecting');
  });

  it('says what cannot be shown', () => {
    const machine = following(0);
    const refused = (code: string, message: string): Machine => ({
      ...machine,
      channel: machine.channel && { ...machine.channel, phase: { kind: 'refused', code, message } },
    });
    expect(words(refused('gone', ''), 0)).toEqual({ state: 'refused', text: 'this account was erased' });
    expect(words(refused('some_later_code', 'the message'), 0).text).toBe('the message');
    expect(
      words({ ...machine, link: { kind: 'ended', code: 4503, why: 'access was revoked' } }, 0).text,
    ).toBe('closed: access was revoked');
  });

  it('tells the age by the clock of the gateway', () => {
    const { channel, skew } = following(4_000);
    if (channel === null) expect.fail('a channel');
    expect(channel.account).toBe(ACCOUNT);
    expect(ageMs(channel, skew, 500)).toBe(4_500);
    expect(ageMs({ ...channel, asOf: null }, skew, 500)).toBeNull();
    expect([400, 12_000, 200_000, 8_000_000].map(ago)).toEqual([
      'just now',
      '12 s ago',
      '3 min ago',
      '2 h ago',
    ]);
  });
});
