import { describe, expect, it } from 'vitest';

import { FakeProjection } from '@livebalance/client/connection/gateway.fake';
import { groupRows } from './transfer-grouping';

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
});
