/** The course of the balance as a line: whole-number arithmetic down to the pixel. */

import type { Transfer } from '../wire/frame';
import { atScale, parts } from '../wire/money';

export type Size = { readonly width: number; readonly height: number };

/** An SVG path from oldest to newest of `rows` (newest first); empty with fewer than two. */
export function sparkline(rows: readonly Transfer[], { width, height }: Size): string {
  if (rows.length < 2) return '';
  const totals = rows.map((row) => parts(row.total)).reverse();
  const scale = Math.max(...totals.map((total) => total.scale));
  const values = totals.map((total) => atScale(total, scale));
  const low = values.reduce((a, b) => (b < a ? b : a));
  const high = values.reduce((a, b) => (b > a ? b : a));
  const span = high === low ? 1n : high - low;
  const y = (value: bigint) => height - Number(((value - low) * BigInt(height)) / span);
  const x = (index: number) => Math.round((index * width) / (values.length - 1));
  return values.map((value, index) => `${index === 0 ? 'M' : 'L'}${x(index)} ${y(value)}`).join('');
}
