/** Runs the golden vectors of `libs/wire/vectors`, which the Python services run as well. */

import { describe, expect, it } from 'vitest';

import close from '../../../wire/vectors/close.json';
import frames from '../../../wire/vectors/frames.json';
import amounts from '../../../wire/vectors/money.json';
import { closeAction, retryAfterMs } from './close.js';
import { INVALID, UNKNOWN_TYPE, decode } from './decode.js';
import type { ServerFrame } from './frame.js';
import { money, fromParts, parts, plus, sameValue, type Money } from './money.js';

const amount = (text: string): Money => money(text) ?? expect.fail(`${text} is not an amount`);

describe('money', () => {
  it.each(amounts.valid)('parses $text', ({ text, unscaled, scale }) => {
    expect(parts(amount(text))).toEqual({ unscaled: BigInt(unscaled), scale });
    expect(fromParts({ unscaled: BigInt(unscaled), scale })).toBe(text);
  });

  it.each(amounts.invalid.map((text) => [text]))('rejects %j', (text) => {
    expect(money(text)).toBeNull();
  });

  it.each(amounts.sums)('$a + $b = $sum', ({ a, b, sum }) => {
    expect(plus(amount(a), amount(b))).toBe(sum);
    expect(plus(amount(b), amount(a))).toBe(sum);
  });

  it.each(amounts.same_value)('sameValue($a, $b) is $same', ({ a, b, same }) => {
    expect(sameValue(amount(a), amount(b))).toBe(same);
  });
});

/** Fields that this client does not read. */
const UNUSED_FIELDS: Readonly<Record<string, readonly string[]>> = {
  welcome: ['epoch', 'limits', 'expires_at'],
};

describe('decode', () => {
  it.each(frames.server)('decodes a frame: $name', ({ text, means }) => {
    const unused = UNUSED_FIELDS[means.type] ?? [];
    const expected = Object.fromEntries(Object.entries(means).filter(([name]) => !unused.includes(name)));
    expect(decode(text)).toEqual(expected);
  });

  it('has a vector for every frame type', () => {
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

  it.each(frames.server_ignored)('reports an unknown type: $name', ({ text }) => {
    expect(decode(text)).toBe(UNKNOWN_TYPE);
  });

  it.each(frames.server_invalid)('reports invalid input: $name', ({ text }) => {
    expect(decode(text)).toBe(INVALID);
  });
});

describe('closeAction', () => {
  it.each(close.codes)('of $code $name is the specified action', ({ code, comes_back: reconnects }) => {
    expect(closeAction(code) === 'reconnect').toBe(reconnects);
    expect(closeAction(code) === 'reload').toBe(code === 4506);
  });
});

describe('retryAfterMs', () => {
  it.each(close.reasons)('of the reason $reason is $retry_after_ms', ({ reason, retry_after_ms: delay }) => {
    expect(retryAfterMs(reason)).toBe(delay);
  });
});
