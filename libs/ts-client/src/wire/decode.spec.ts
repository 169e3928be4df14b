import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import frames from '../../../wire/vectors/frames.json';
import { INVALID, UNKNOWN_TYPE, decode, decodeAccounts, decodeTransfers } from './decode.js';

describe('decode', () => {
  it('returns a frame, INVALID or UNKNOWN_TYPE for any text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        const result = decode(text);
        expect(result === INVALID || result === UNKNOWN_TYPE || typeof result.type === 'string').toBe(true);
      }),
    );
  });

  it('does not throw if one field of a valid frame has any other value', () => {
    const validFrame = fc.constantFrom(...frames.server.map(({ means }) => means as Record<string, unknown>));
    fc.assert(
      fc.property(validFrame, fc.nat(), fc.jsonValue(), (frame, index, value) => {
        const names = Object.keys(frame);
        const name = names[index % names.length] ?? 'type';
        expect(() => decode(JSON.stringify({ ...frame, [name]: value }))).not.toThrow();
      }),
    );
  });

  it('does not throw for any REST response body', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (body) => {
        expect(() => [decodeAccounts(body), decodeTransfers(body)]).not.toThrow();
      }),
    );
  });

  it('ignores properties of the prototype', () => {
    expect(decode('{"type":"toString"}')).toBe(UNKNOWN_TYPE);
    expect(decode('{"type":"__proto__"}')).toBe(UNKNOWN_TYPE);
    const text = '{"type":"ok","id":1,"__proto__":{"polluted":true}}';
    expect(decode(text)).toEqual({ type: 'ok', id: 1 });
  });
});
