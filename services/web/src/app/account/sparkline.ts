/** The course of the balance as a line. Amounts stay exact until they become pixels. */

import { atScale, parts, type Transfer } from '@livebalance/client';

export type Size = { readonly width: number; readonly height: number };

/** Returns an SVG path from the oldest to the newest of `rows` (newest first), or '' for fewer than two. */
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
