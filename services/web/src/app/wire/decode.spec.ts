import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import frames from '../../../../../libs/wire/vectors/frames.json';
import { BROKEN, UNKNOWN, decode, decodeAccounts, decodeTransfers } from './decode';

describe('decoding is total', () => {
  it('whatever the text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        const found = decode(text);
        expect(found === BROKEN || found === UNKNOWN || typeof found.type === 'string').toBe(true);
      }),
    );
  });

  it('whatever one field of a good frame becomes', () => {
    const good = fc.constantFrom(...frames.server.map(({ means }) => means as Record<string, unknown>));
    fc.assert(
      fc.property(good, fc.nat(), fc.jsonValue(), (frame, at, value) => {
        const names = Object.keys(frame);
        const name = names[at % names.length] ?? 'type';
        expect(() => decode(JSON.stringify({ ...frame, [name]: value }))).not.toThrow();
      }),
    );
  });

  it('whatever a body of REST is', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (body) => {
        expect(() => [decodeAccounts(body), decodeTransfers(body)]).not.toThrow();
      }),
    );
  });

  it('takes nothing from a prototype', () => {
    expect(decode('{"type":"toString"}')).toBe(UNKNOWN);
    expect(decode('{"type":"__proto__"}')).toBe(UNKNOWN);
    const text = '{"type":"ok","id":1,"__proto__":{"polluted":true}}';
    expect(decode(text)).toEqual({ type: 'ok', id: 1 });
  });
});
