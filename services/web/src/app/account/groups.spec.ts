import { expect, it } from 'vitest';

import { Truth } from '../connection/gateway.fake';
import { grouped } from './groups';

function rowsOf(count: number) {
  const truth = new Truth();
  for (let n = 0; n < count; n += 1) truth.transfer(n);
  return truth.rows();
}

it('keeps every row, in order', () => {
  const rows = rowsOf(300);
  expect(grouped(rows).flatMap((group) => group.rows)).toEqual(rows);
  expect(grouped(rows).length).toBe(3);
  expect(grouped([])).toEqual([]);
});

it('leaves the other groups as they are when a row arrives', () => {
  const rows = rowsOf(300);
  const before = grouped(rows.slice(1));
  const after = grouped(rows, before);
  expect(after[0]).not.toBe(before[0]);
  expect(after.slice(1).every((group, index) => group === before[index + 1])).toBe(true);
  expect(grouped([...rows], after).every((group, index) => group === after[index])).toBe(true);
});
