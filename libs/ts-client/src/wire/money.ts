/** Exact amounts as decimal strings. Arithmetic uses BigInt, so amounts are never rounded. */

declare const brand: unique symbol;
export type Money = string & { readonly [brand]: 'Money' };

/** Currency code of the deployment, or null if none is configured. */
export type Currency = string | null;

const MAX_LENGTH = 64; // characters; any sum of int64 amounts is shorter
const DECIMAL = /^(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?$/;

type Parts = { readonly unscaled: bigint; readonly scale: number };

/** Parses a decimal string. Returns null for any other form ("1e3", "+1", "-0", " 1"). */
export function money(text: string): Money | null {
  const match = text.length <= MAX_LENGTH ? DECIMAL.exec(text) : null;
  if (match === null) return null;
  return match[1] === '-' && /^[-0.]*$/.test(text) ? null : (text as Money);
}

/** Splits an amount into `unscaled` / 10^`scale`. */
export function parts(amount: Money): Parts {
  const [whole = '', places = ''] = amount.split('.');
  return { unscaled: BigInt(whole + places), scale: places.length };
}

export function fromParts({ unscaled, scale }: Parts): Money {
  const sign = unscaled < 0n ? '-' : '';
  const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, '0');
  const point = digits.length - scale;
  return (sign + digits.slice(0, point) + (scale > 0 ? `.${digits.slice(point)}` : '')) as Money;
}

/** Returns the unscaled values of both amounts at the larger scale, and that scale. */
function aligned(a: Money, b: Money): [bigint, bigint, number] {
  const [left, right] = [parts(a), parts(b)];
  const scale = Math.max(left.scale, right.scale);
  return [atScale(left, scale), atScale(right, scale), scale];
}

export function atScale({ unscaled, scale }: Parts, target: number): bigint {
  return unscaled * 10n ** BigInt(target - scale);
}

/** Returns the sum at the larger of both scales. */
export function plus(a: Money, b: Money): Money {
  const [left, right, scale] = aligned(a, b);
  return fromParts({ unscaled: left + right, scale });
}

/** Returns the difference at the larger of both scales. */
export function minus(a: Money, b: Money): Money {
  const [left, right, scale] = aligned(a, b);
  return fromParts({ unscaled: left - right, scale });
}

export function sameValue(a: Money, b: Money): boolean {
  const [left, right] = aligned(a, b);
  return left === right;
}

/** Returns -1, 0 or 1. */
export function sign(amount: Money): -1 | 0 | 1 {
  const { unscaled } = parts(amount);
  return unscaled < 0n ? -1 : unscaled > 0n ? 1 : 0;
}
