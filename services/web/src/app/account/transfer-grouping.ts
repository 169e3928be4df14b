/**
 * Groups rows so that a new row changes only the first group.
 *
 * Angular compares, and the browser lays out, only the groups that changed.
 */

import type { Transfer } from '@livebalance/client';

export type RowGroup = { readonly key: number; readonly rows: readonly Transfer[] };

/** Number of revisions in a group, and therefore the maximum number of rows. */
const GROUP_REVISIONS = 128;

/** Groups `rows` (newest first) at fixed revisions. Reuses the groups of `previous` that are unchanged. */
export function groupRows(
  rows: readonly Transfer[],
  previous: readonly RowGroup[] = [],
): readonly RowGroup[] {
  const previousByKey = new Map(previous.map((group) => [group.key, group]));
  const rowsByKey = new Map<number, Transfer[]>();
  for (const row of rows) {
    const key = Math.floor(row.revision / GROUP_REVISIONS);
    const groupRows = rowsByKey.get(key);
    if (groupRows === undefined) rowsByKey.set(key, [row]);
    else groupRows.push(row);
  }
  return Array.from(
    rowsByKey,
    ([key, groupRows]) => unchanged(previousByKey.get(key), groupRows) ?? { key, rows: groupRows },
  );
}

/** Returns the group if it has exactly these rows, else null. */
function unchanged(group: RowGroup | undefined, rows: readonly Transfer[]): RowGroup | null {
  const isSame = group?.rows.length === rows.length && group.rows.every((row, index) => row === rows[index]);
  return isSame ? group : null;
}
