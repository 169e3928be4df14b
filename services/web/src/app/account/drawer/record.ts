/** What the drawer says about the Kafka record and the SQL row of a transfer. */

import { minus, plus, type AccountId, type Money, type Transfer } from '@livebalance/client';

export type Place = { readonly topic: string; readonly partition: string; readonly offset: string };

/** Splits the source of a transfer, such as "transfers/3@5512"; null if it has another form. */
export function placeOf(source: string): Place | null {
  const [, topic, partition, offset] = /^(.+)\/(\d+)@(\d+)$/.exec(source) ?? [];
  return topic === undefined || partition === undefined || offset === undefined
    ? null
    : { topic, partition, offset };
}

/** The balance before and after a transfer, computed from the running totals. */
export function balancesAround(opening: Money, row: Transfer): { before: Money; after: Money } {
  const after = plus(opening, row.total);
  return { before: minus(after, row.amount), after };
}

/** Returns the statement that shows the row of a transfer to an analyst. Ids need no escapes. */
export function sqlOf(account: AccountId, id: string): string {
  return `select revision, transfer_id, amount,
  balance_after - amount as balance_before,
  balance_after, occurred_at, recorded_at,
  topic, partition, source_offset
from reporting.transfers
where account_id = '${account}'
  and transfer_id = '${id}';`;
}
