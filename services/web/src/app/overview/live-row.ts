/** An account as a row of the overview: its balance, its change, and whether these are confirmed. */

import {
  minus,
  sign,
  type AccountId,
  type AccountView,
  type Balance,
  type Epoch,
  type Instant,
  type Money,
  type Session,
  type Transfer,
} from '@livebalance/client';

import { connectionText, type ConnectionText } from '../account/connection-text';
import { wording } from '../wording';

export type LiveRow = {
  readonly account: AccountId;
  /** Null if there is none, or the user may not see it. */
  readonly balance: Balance | null;
  readonly transfers: readonly Transfer[];
  readonly asOf: Instant | null;
  readonly status: ConnectionText;
  /** The balance is confirmed to be up to date. If it is not, it must not look live. */
  readonly live: boolean;
  readonly disputed: boolean;
  /** The first balance that this page received for the account, since it was opened and within its epoch. */
  readonly first: Balance | null;
  readonly epoch: Epoch | null;
  /** The balance minus the first balance; null if there is none, or the currency is another one. */
  readonly change: Money | null;
};

const NO_TRANSFERS: readonly Transfer[] = [];

/** Returns the row of an account. It is `previous` if nothing has changed. */
export function liveRow(view: AccountView, session: Session, now: number, previous?: LiveRow): LiveRow {
  const balance = view.state?.balance ?? null;
  const epoch = view.state?.epoch ?? null;
  const kept = previous?.epoch === epoch ? previous.first : null;
  const first = balance && (kept ?? balance);
  const status = statusOf(view, session, now);
  const transfers = view.state?.rows ?? NO_TRANSFERS;
  if (previous !== undefined && isUnchanged(previous, { balance, transfers, asOf: view.asOf, status, first }))
    return previous;
  return {
    account: view.account,
    balance,
    transfers,
    asOf: view.asOf,
    status,
    live: status.state === 'live',
    disputed: isDisputed(balance),
    first,
    epoch,
    change: changeOf(first, balance),
  };
}

function isUnchanged(
  row: LiveRow,
  {
    balance,
    transfers,
    asOf,
    status,
    first,
  }: Pick<LiveRow, 'balance' | 'transfers' | 'asOf' | 'status' | 'first'>,
): boolean {
  return (
    row.balance === balance &&
    row.transfers === transfers &&
    row.asOf === asOf &&
    row.first === first &&
    row.status.state === status.state &&
    row.status.text === status.text
  );
}

function statusOf(view: AccountView, { channels, ...session }: Session, now: number): ConnectionText {
  const status = connectionText({ ...session, channel: channels.get(view.account) ?? null }, now);
  // Nothing was ever recorded for this account.
  if (status.state === 'live' && view.state?.revision === 0)
    return { ...status, text: wording.watchlist.unknown };
  return status.state === 'idle' ? { state: 'connecting', text: wording.connection.connecting } : status;
}

function isDisputed(balance: Balance | null): boolean {
  if (balance === null) return false;
  return balance.disputed_since !== null || (balance.drift !== null && sign(balance.drift) !== 0);
}

function changeOf(first: Balance | null, balance: Balance | null): Money | null {
  if (first === null || first.currency !== balance?.currency) return null;
  return minus(balance.amount, first.amount);
}
