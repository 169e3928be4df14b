/** Returns the percentile of values by the nearest rank: a value of the list; null if the list is empty. */
export function percentile(values: readonly number[], percent: number): number | null {
  const rank = Math.max(1, Math.ceil((percent / 100) * values.length));
  return values.toSorted((a, b) => a - b)[rank - 1] ?? null;
}
