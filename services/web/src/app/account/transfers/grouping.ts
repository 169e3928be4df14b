/**
 * Groups rows so that a new row changes only the first group.
 *
 * Angular compares, and the browser lays out, only the groups that changed.
 */

import type { Transfer } from '@livebalance/client';

export type RowGroup = {
  readonly key: number;
  readonly rows: readonly Transfer[];
  /** The row above the group, to tell whether the group begins with another date. */
  readonly above: Transfer | null;
};

/** Number of revisions in a group, and therefore the maximum number of rows. */
const GROUP_REVISIONS = 128;

/**
 * Groups `rows` (newest first) at fixed revisions. Reuses the groups of `previous` that are unchanged.
 *
 * If `rows` only begin with more rows than `previousRows`, it reads no other rows.
 */
export function groupRows(
  rows: readonly Transfer[],
  previous: readonly RowGroup[] = [],
  previousRows: readonly Transfer[] = [],
): readonly RowGroup[] {
  const added = rows.length - previousRows.length;
  const [first, ...others] = previous;
  if (
    first !== undefined &&
    added >= 0 &&
    rows[added] === previousRows[0] &&
    rows.at(-1) === previousRows.at(-1)
  )
    return [...split(rows.slice(0, added + first.rows.length), previous), ...others];
  return split(rows, previous);
}

function split(rows: readonly Transfer[], previous: readonly RowGroup[]): readonly RowGroup[] {
  const previousByKey = new Map(previous.map((group) => [group.key, group]));
  const rowsByKey = new Map<number, Transfer[]>();
  for (const row of rows) {
    const key = Math.floor(row.revision / GROUP_REVISIONS);
    const groupRows = rowsByKey.get(key);
    if (groupRows === undefined) rowsByKey.set(key, [row]);
    else groupRows.push(row);
  }
  let above: Transfer | null = null;
  return Array.from(rowsByKey, ([key, groupRows]) => {
    const group = { key, rows: groupRows, above };
    above = groupRows.at(-1) ?? null;
    const before = previousByKey.get(key);
    return before !== undefined && isSame(before, group) ? before : group;
  });
}

function isSame(a: RowGroup, b: RowGroup): boolean {
  return (
    a.above === b.above &&
    a.rows.length === b.rows.length &&
    a.rows.every((row, index) => row === b.rows[index])
  );
}
