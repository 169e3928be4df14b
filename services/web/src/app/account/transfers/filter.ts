/** Filters of the list: as parameters of the page's address, as a query of the REST API, and as a condition. */

import { minus, money, sign, type Money, type Transfer } from '@livebalance/client';

export type Direction = 'in' | 'out';
export type Filter = {
  readonly direction: Direction | null;
  /** Limits of the amount without its sign. */
  readonly min: Money | null;
  readonly max: Money | null;
  /** A part of the id. */
  readonly id: string | null;
  /** First and last day, by the reader's clock, such as "2026-11-24". */
  readonly from: string | null;
  readonly to: string | null;
};

/** The forms that the REST API accepts, too. */
const AMOUNT = /^(0|[1-9]\d{0,40})(\.\d{1,18})?$/;
const ID_PART = /^[A-Za-z0-9._-]{1,64}$/;
const DAY = /^(19|20|21)\d\d-\d\d-\d\d$/;

type Parameters = Readonly<Record<string, unknown>>;

/** Returns the filter of an address. Parameters that are invalid count as absent. */
export function filterOf(parameters: Parameters): Filter {
  const text = (name: keyof Filter) => {
    const value = parameters[name];
    return typeof value === 'string' ? value : '';
  };
  const direction = text('direction');
  return {
    direction: direction === 'in' || direction === 'out' ? direction : null,
    min: amountOf(text('min')),
    max: amountOf(text('max')),
    id: ID_PART.test(text('id')) ? text('id') : null,
    from: dayOf(text('from')),
    to: dayOf(text('to')),
  };
}

/** Returns an amount as a person types it, such as "12,5", or null if it is none. */
function amountOf(text: string): Money | null {
  const decimal = text.replace(',', '.');
  return AMOUNT.test(decimal) ? money(decimal) : null;
}

function dayOf(text: string): string | null {
  return DAY.test(text) && !Number.isNaN(startOf(text, 0)) ? text : null;
}

/** Returns the beginning of the day that is `days` after a date, by the reader's clock, in milliseconds. */
function startOf(date: string, days: number): number {
  const [year = NaN, month = NaN, day = NaN] = date.split('-').map(Number);
  const start = new Date(year, month - 1, day + days);
  return days === 0 && start.getMonth() !== month - 1 ? NaN : start.getTime();
}

export function isEmpty(filter: Filter): boolean {
  return Object.values(filter).every((value) => value === null);
}

/** Tells whether no transfer can pass, because the first day is after the last. */
export function isImpossible({ from, to }: Filter): boolean {
  return from !== null && to !== null && from > to;
}

/** Returns the query that the REST API searches with. */
export function queryOf({ direction, min, max, id, from, to }: Filter): Record<string, string> {
  const query = {
    direction,
    min_amount: min,
    max_amount: max,
    id,
    from: from && new Date(startOf(from, 0)).toISOString(),
    to: to && new Date(startOf(to, 1)).toISOString(),
  };
  return Object.fromEntries(
    Object.entries(query).filter((entry): entry is [string, string] => entry[1] !== null),
  );
}

/** Tells whether a transfer that was recorded at the time `at` passes the filter. */
export function passes(filter: Filter, row: Transfer, at: number): boolean {
  const { direction, min, max, id, from, to } = filter;
  const isCredit = sign(row.amount);
  const size = (row.amount.startsWith('-') ? row.amount.slice(1) : row.amount) as Money;
  return (
    (direction === null || isCredit === (direction === 'in' ? 1 : -1)) &&
    (min === null || sign(minus(size, min)) >= 0) &&
    (max === null || sign(minus(max, size)) >= 0) &&
    (id === null || row.id.includes(id)) &&
    (from === null || at >= startOf(from, 0)) &&
    (to === null || at < startOf(to, 1))
  );
}
