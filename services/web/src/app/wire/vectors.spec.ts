/** The golden vectors that the services are held to as well. */

import { describe, expect, it } from 'vitest';

import close from '../../../../../libs/wire/vectors/close.json';
import frames from '../../../../../libs/wire/vectors/frames.json';
import amounts from '../../../../../libs/wire/vectors/money.json';
import { retryAfterMs, verdict } from './close';
import { BROKEN, UNKNOWN, decode } from './decode';
import type { ServerFrame } from './frame';
import { money, ofParts, parts, plus, sameValue, type Money } from './money';

const amount = (text: string): Money => money(text) ?? expect.fail(`${text} is an amount`);

describe('money', () => {
  it.each(amounts.valid)('reads $text', ({ text, unscaled, scale }) => {
    expect(parts(amount(text))).toEqual({ unscaled: BigInt(unscaled), scale });
    expect(ofParts({ unscaled: BigInt(unscaled), scale })).toBe(text);
  });

  it.each(amounts.invalid.map((text) => [text]))('refuses %j', (text) => {
    expect(money(text)).toBeNull();
  });

  it.each(amounts.sums)('$a + $b = $sum', ({ a, b, sum }) => {
    expect(plus(amount(a), amount(b))).toBe(sum);
    expect(plus(amount(b), amount(a))).toBe(sum);
  });

  it.each(amounts.same_value)('$a is worth $b: $same', ({ a, b, same }) => {
    expect(sameValue(amount(a), amount(b))).toBe(same);
  });
});

/** What this page reads of each frame; the rest is of no use to it. */
const LEFT_OUT: Readonly<Record<string, readonly string[]>> = {
  welcome: ['features', 'epoch', 'limits', 'expires_at'],
};

describe('frames of the server', () => {
  it.each(frames.server)('reads: $name', ({ text, means }) => {
    const left = LEFT_OUT[means.type] ?? [];
    const expected = Object.fromEntries(Object.entries(means).filter(([name]) => !left.includes(name)));
    expect(decode(text)).toEqual(expected);
  });

  it('has a vector of every type', () => {
    const types: readonly ServerFrame['type'][] = [
      'welcome',
      'snapshot',
      'delta',
      'heartbeat',
      'status',
      'ok',
      'error',
      'unsubscribed',
      'auth_expiring',
      'goaway',
    ];
    expect(new Set(frames.server.map(({ means }) => means.type))).toEqual(new Set(types));
  });

  it.each(frames.server_ignored)('ignores: $name', ({ text }) => {
    expect(decode(text)).toBe(UNKNOWN);
  });

  it.each(frames.server_invalid)('calls broken: $name', ({ text }) => {
    expect(decode(text)).toBe(BROKEN);
  });
});

describe('close codes', () => {
  it.each(close.codes)('$code $name', ({ code, comes_back: comesBack }) => {
    expect(verdict(code) === 'comes back').toBe(comesBack);
    expect(verdict(code) === 'reloads').toBe(code === 4506);
  });

  it.each(close.reasons)('asks for $retry_after_ms in $reason', ({ reason, retry_after_ms: asked }) => {
    expect(retryAfterMs(reason)).toBe(asked);
  });
});
