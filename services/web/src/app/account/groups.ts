/** Rows in groups that stay the same when a row arrives on top: only the first is laid out and compared again. */

import type { Transfer } from '../wire/frame';

export type Group = { readonly key: number; readonly rows: readonly Transfer[] };

/** Revisions in one group; at most as many rows. */
const REVISIONS = 128;

/** `rows` newest first, cut at fixed revisions; a group of `before` that did not change is that very object. */
export function grouped(rows: readonly Transfer[], before: readonly Group[] = []): readonly Group[] {
  const known = new Map(before.map((group) => [group.key, group]));
  const found = new Map<number, Transfer[]>();
  for (const row of rows) {
    const key = Math.floor(row.revision / REVISIONS);
    const group = found.get(key);
    if (group === undefined) found.set(key, [row]);
    else group.push(row);
  }
  return Array.from(found, ([key, own]) => unchanged(known.get(key), own) ?? { key, rows: own });
}

function unchanged(group: Group | undefined, rows: readonly Transfer[]): Group | null {
  const same = group?.rows.length === rows.length && group.rows.every((row, index) => row === rows[index]);
  return same ? group : null;
}
