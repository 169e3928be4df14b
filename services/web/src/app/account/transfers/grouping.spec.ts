import { describe, expect, it } from 'vitest';

import { FakeProjection } from '@livebalance/client/connection/gateway.fake';
import { groupRows } from './grouping';

function createRows(count: number) {
  const projection = new FakeProjection();
  for (let n = 0; n < count; n += 1) projection.addTransfer(n);
  return projection.rows();
}

describe('groupRows', () => {
  it('keeps every row in order', () => {
    const rows = createRows(300);
    expect(groupRows(rows).flatMap((group) => group.rows)).toEqual(rows);
    expect(groupRows(rows).length).toBe(3);
    expect(groupRows([])).toEqual([]);
  });

  it('reuses all groups except the first if a row arrives', () => {
    const rows = createRows(300);
    const before = groupRows(rows.slice(1));
    const after = groupRows(rows, before);
    expect(after[0]).not.toBe(before[0]);
    expect(after.slice(1).every((group, index) => group === before[index + 1])).toBe(true);
    expect(groupRows([...rows], after).every((group, index) => group === after[index])).toBe(true);
  });

  it('gives the same groups whether or not it knows the rows before', () => {
    const rows = createRows(300);
    for (const [start, end] of [
      [0, 300],
      [1, 300],
      [40, 300],
      [299, 300],
      [0, 200],
    ] as const) {
      const before = rows.slice(start, end);
      const groups = groupRows(before);
      expect(groupRows(rows, groups, before)).toEqual(groupRows(rows));
      expect(groupRows(before, groupRows(rows), rows)).toEqual(groups);
    }
    const withGap = [...rows.slice(0, 100), ...rows.slice(120)];
    expect(groupRows(rows, groupRows(withGap), withGap)).toEqual(groupRows(rows));
  });

  it('names the row above each group', () => {
    const groups = groupRows(createRows(300));
    expect(groups.map((group) => group.above)).toEqual([
      null,
      ...groups.slice(0, -1).map((group) => group.rows.at(-1)),
    ]);
  });
});
