/** Runs the golden vectors of `libs/wire/vectors`, which the Python services run as well. */

import { describe, expect, it } from 'vitest';

import close from '../../../wire/vectors/close.json';
import frames from '../../../wire/vectors/frames.json';
import patches from '../../../wire/vectors/patches.json';
import sets from '../../../wire/vectors/sets.json';
import amounts from '../../../wire/vectors/money.json';
import { closeAction, retryAfterMs } from './close.js';
import { INVALID, UNKNOWN_TYPE, decode } from './decode.js';
import { setName } from './identity.js';
import type { Delta, Patch, ServerFrame } from './frame.js';
import { applyPatch } from './patch.js';
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
  const vectors = [...frames.server, ...sets.server];

  it.each(vectors)('decodes a frame: $name', ({ text, means }) => {
    const unused = UNUSED_FIELDS[means.type] ?? [];
    const expected: unknown = Object.fromEntries(
      Object.entries(means).filter(([name]) => !unused.includes(name)),
    );
    expect(decode(text)).toEqual(expected);
  });

  it('has a vector for every frame type', () => {
    const types: readonly ServerFrame['type'][] = [
      'welcome',
      'snapshot',
      'delta',
      'patch',
      'set_snapshot',
      'set_delta',
      'heartbeat',
      'status',
      'ok',
      'error',
      'unsubscribed',
      'auth_expiring',
      'goaway',
    ];
    expect(new Set(vectors.map(({ means }) => means.type))).toEqual(new Set(types));
  });

  it.each(frames.server_ignored)('reports an unknown type: $name', ({ text }) => {
    expect(decode(text)).toBe(UNKNOWN_TYPE);
  });

  it.each(frames.server_invalid)('reports invalid input: $name', ({ text }) => {
    expect(decode(text)).toBe(INVALID);
  });
});

describe('applyPatch', () => {
  const patched = patches.patches.filter(({ patch }) => patch !== null);

  it.each(patched)('returns the delta: $name', ({ last, delta, patch }) => {
    expect(applyPatch(decode(last) as Delta, decode(patch ?? '') as Patch)).toEqual(decode(delta));
  });

  it('rejects a patch of another delta', () => {
    const deltas = patched.map(({ last }) => decode(last) as Delta);
    for (const { patch } of patched)
      for (const last of deltas) {
        const frame = decode(patch ?? '') as Patch;
        expect(applyPatch(last, frame) === null).toBe(last.to !== frame.from);
      }
    expect(applyPatch(null, decode(patched[0]?.patch ?? '') as Patch)).toBeNull();
  });
});

describe('setName', () => {
  it.each(sets.names.map((text) => [text]))('accepts %j', (text) => {
    expect(setName(text)).toBe(text);
  });

  it.each(sets.names_invalid.map((text) => [text]))('rejects %j', (text) => {
    expect(setName(text)).toBeNull();
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
