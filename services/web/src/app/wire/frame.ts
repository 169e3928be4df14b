/** The frames of the socket `/ws`, subprotocol livebalance.v1: JSON text, each with a `type`. */

import type { AccountId, Channel, Epoch, Instant, Position, Revision } from './identity';
import type { Currency, Money } from './money';

export const SUBPROTOCOL = 'livebalance.v1';

/** `half_applied` and `drift` are null until the transfer the balance names is in the list. */
export type Balance = {
  readonly amount: Money;
  readonly currency: Currency;
  readonly version: number;
  /** Of the account when this balance was shown. */
  readonly revision: Revision;
  readonly transfer_id: string;
  readonly client_id: string;
  readonly opening: Money | null;
  /** What the list already shows and the balance does not yet. */
  readonly half_applied: Money | null;
  /** What balance and list disagree by; anything but zero is a dispute. */
  readonly drift: Money | null;
  readonly disputed_since: Instant | null;
};

/** `total` is the running sum in the account's order: the balance after it is opening + total. */
export type Transfer = {
  readonly id: string;
  readonly amount: Money;
  readonly total: Money;
  /** The producer's clock. */
  readonly occurred_at: Instant;
  readonly revision: Revision;
  /** "transfers/3@5512": topic, partition, offset. */
  readonly source: string;
};

/** Revisions left out by a snapshot; REST fills them by `after_revision`. */
export type Gap = { readonly from: Revision; readonly to: Revision };

export type Welcome = {
  readonly type: 'welcome';
  readonly session: string;
  readonly gateway: string;
  readonly version: string;
  readonly server_time: Instant;
  readonly heartbeat_ms: number;
};

/** The whole state at a revision; `transfers` newest first, `cursor` for older ones. */
export type Snapshot = {
  readonly type: 'snapshot';
  readonly channel: string;
  readonly epoch: Epoch;
  readonly revision: Revision;
  readonly reason: 'subscribed' | 'too_far' | 'ahead' | 'epoch';
  readonly gap?: Gap;
  readonly balance: Balance | null;
  readonly transfers: readonly Transfer[];
  readonly cursor: string | null;
  readonly as_of: Instant | null;
};

/** Applies only to a state at `from`; `transfers` in order. A page with `more` carries no balance. */
export type Delta = {
  readonly type: 'delta';
  readonly channel: string;
  readonly epoch: Epoch;
  readonly from: Revision;
  readonly to: Revision;
  readonly more?: boolean;
  readonly balance?: Balance | null;
  readonly transfers: readonly Transfer[];
  readonly recorded_at: Instant;
};

export type Heartbeat = {
  readonly type: 'heartbeat';
  readonly server_time: Instant;
  /** Everything up to here is in what was sent; null when unknown. */
  readonly as_of: Instant | null;
};

export type Status = {
  readonly type: 'status';
  readonly state: 'live' | 'catching_up' | 'stalled';
  readonly since: Instant;
  readonly reason?: string;
};

export type Ok = { readonly type: 'ok'; readonly id: string | number };

export type Refusal = {
  readonly type: 'error';
  readonly id?: string | number;
  readonly channel?: string;
  readonly code: string;
  readonly message: string;
  readonly temporary: boolean;
  readonly retry_after_ms?: number;
};

export type Unsubscribed = {
  readonly type: 'unsubscribed';
  readonly channel: string;
  readonly code: string;
  readonly message: string;
};

export type AuthExpiring = { readonly type: 'auth_expiring'; readonly expires_at: Instant };

export type Goaway = {
  readonly type: 'goaway';
  readonly reason: string;
  readonly reconnect_within_ms: number;
};

export type ServerFrame =
  Welcome | Snapshot | Delta | Heartbeat | Status | Ok | Refusal | Unsubscribed | AuthExpiring | Goaway;

/** The first message, unless a cookie said it: who this is. */
export type Auth = { readonly type: 'auth'; readonly token: string };
/** Another token of the same subject; subscriptions stay. */
export type Refresh = { readonly type: 'refresh'; readonly id: string; readonly token: string };
export type Subscribe = {
  readonly type: 'subscribe';
  readonly id: string;
  readonly channels: readonly { readonly channel: Channel; readonly position?: Position }[];
};
export type Unsubscribe = {
  readonly type: 'unsubscribe';
  readonly id: string;
  readonly channels: readonly Channel[];
};
/** Data at most so often, of each channel in one delta; null: as they come. */
export type Rate = { readonly type: 'rate'; readonly id: string; readonly max_per_second: number | null };
export type Ping = { readonly type: 'ping'; readonly id: string };

export type ClientFrame = Auth | Refresh | Subscribe | Unsubscribe | Rate | Ping;

/** A row of the list of accounts (REST). */
export type AccountRow = {
  readonly account: AccountId;
  readonly epoch: Epoch;
  readonly revision: Revision;
  readonly balance: Balance | null;
};

export type AccountPage = { readonly accounts: readonly AccountRow[]; readonly next: string | null };

/** `next` is the cursor of the page after this one. */
export type TransferPage = { readonly transfers: readonly Transfer[]; readonly next: string | null };
