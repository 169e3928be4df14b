/** Exact amounts as decimal strings. Sums are on whole numbers (BigInt), so nothing is ever rounded. */

declare const brand: unique symbol;
export type Money = string & { readonly [brand]: 'Money' };

/** A currency is one code per deployment, or null where none is set. */
export type Currency = string | null;

const MAX_TEXT = 64; // characters; any sum of int64 amounts is shorter
const FORM = /^(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?$/;

type Parts = { readonly unscaled: bigint; readonly scale: number };

/** The amount a decimal string spells, or null for any other form ("1e3", "+1", "-0", " 1"). */
export function money(text: string): Money | null {
  const found = text.length <= MAX_TEXT ? FORM.exec(text) : null;
  if (found === null) return null;
  return found[1] === '-' && /^[-0.]*$/.test(text) ? null : (text as Money);
}

/** `unscaled` / 10^`scale`. */
export function parts(amount: Money): Parts {
  const [whole = '', places = ''] = amount.split('.');
  return { unscaled: BigInt(whole + places), scale: places.length };
}

export function ofParts({ unscaled, scale }: Parts): Money {
  const sign = unscaled < 0n ? '-' : '';
  const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, '0');
  const point = digits.length - scale;
  return (sign + digits.slice(0, point) + (scale > 0 ? `.${digits.slice(point)}` : '')) as Money;
}

/** `unscaled` of both at the larger scale. */
function aligned(a: Money, b: Money): [bigint, bigint, number] {
  const [left, right] = [parts(a), parts(b)];
  const scale = Math.max(left.scale, right.scale);
  return [atScale(left, scale), atScale(right, scale), scale];
}

export function atScale({ unscaled, scale }: Parts, wanted: number): bigint {
  return unscaled * 10n ** BigInt(wanted - scale);
}

/** The sum, at the larger of both scales. */
export function plus(a: Money, b: Money): Money {
  const [left, right, scale] = aligned(a, b);
  return ofParts({ unscaled: left + right, scale });
}

export function sameValue(a: Money, b: Money): boolean {
  const [left, right] = aligned(a, b);
  return left === right;
}

/** -1, 0 or 1. */
export function sign(amount: Money): -1 | 0 | 1 {
  const { unscaled } = parts(amount);
  return unscaled < 0n ? -1 : unscaled > 0n ? 1 : 0;
}
