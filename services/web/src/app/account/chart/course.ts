/** The course of an account's balance over time. Amounts stay exact until they become heights. */

import {
  atScale,
  fromParts,
  millis,
  minus,
  parts,
  type ChartPage,
  type Money,
  type Transfer,
} from '@livebalance/client';

/** The running total after a transfer, from the time `at` (milliseconds) until the next point. */
export type Point = { readonly at: number; readonly total: Money; readonly revision: number };

/** Heights lie between 0 for the lowest and this number for the highest total. */
export const HEIGHT = 10_000;

/**
 * Returns the points of transfers (newest first), oldest first.
 *
 * Points are in the account's order. The time of a transfer can be before that of its predecessor. Its total
 * holds only after its predecessor's, so its point gets that time.
 */
export function pointsOf(rows: readonly Transfer[]): readonly Point[] {
  return appended([], rows.toReversed());
}

/** Returns the points of a selection that are older than the revision `oldest`. */
export function selected(points: ChartPage['points'], oldest: number): readonly Point[] {
  return points
    .filter(({ revision }) => revision < oldest)
    .map(({ revision, total, recorded_at }) => ({ at: millis(recorded_at), total, revision }));
}

/** Returns the points followed by those of the transfers (oldest first) that are newer than the last point. */
export function appended(points: readonly Point[], rows: readonly Transfer[]): readonly Point[] {
  const all = [...points];
  let { at, revision } = points.at(-1) ?? { at: -Infinity, revision: 0 };
  for (const row of rows) {
    if (row.revision <= revision) continue;
    at = Math.max(at, millis(row.occurred_at));
    revision = row.revision;
    all.push({ at, total: row.total, revision });
  }
  return all;
}

/**
 * Returns the points from `since` until `until`. The first and the last are the totals at these times, so that
 * a line fills the period. Before the first point nothing is known, so the line begins there.
 */
export function within(points: readonly Point[], since: number, until: number): readonly Point[] {
  const inside = points.filter(({ at }) => at >= since && at <= until);
  const before = points.findLast(({ at }) => at < since);
  const line = before === undefined ? inside : [{ ...before, at: since }, ...inside];
  const last = line.at(-1);
  return last === undefined || last.at >= until ? line : [...line, { ...last, at: until }];
}

/** Returns the height of each total. */
export function heights(totals: readonly Money[]): readonly number[] {
  const { values, low, high } = aligned(totals);
  const span = high === low ? 1n : high - low;
  return values.map((value) => Number(((value - low) * BigInt(HEIGHT)) / span));
}

export type Extremes = { readonly low: Money; readonly high: Money };

/** Returns the lowest and the highest total; null without totals. */
export function extremes(totals: readonly Money[]): Extremes | null {
  if (totals.length === 0) return null;
  const { scale, low, high } = aligned(totals);
  return { low: fromParts({ unscaled: low, scale }), high: fromParts({ unscaled: high, scale }) };
}

/** Returns by how much the total changes from the first to the last point; null for fewer than two. */
export function change(points: readonly Point[]): Money | null {
  const [first, last] = [points[0], points.at(-1)];
  return first === undefined || last === undefined || points.length < 2
    ? null
    : minus(last.total, first.total);
}

function aligned(totals: readonly Money[]) {
  const split = totals.map(parts);
  const scale = split.reduce((most, total) => Math.max(most, total.scale), 0);
  const values = split.map((total) => atScale(total, scale));
  const [first = 0n] = values;
  let [low, high] = [first, first];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return { values, scale, low, high };
}
