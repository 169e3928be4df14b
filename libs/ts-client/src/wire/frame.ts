/** Frames of the WebSocket `/ws`, subprotocol livebalance.v1. See `docs/protocol.md`. */

import type { AccountId, ChannelName, Epoch, Instant, Position, Revision, SetName } from './identity.js';
import type { Currency, Money } from './money.js';

export const SUBPROTOCOL = 'livebalance.v1';

/** A balance. `half_applied` and `drift` are null until the transfer of `transfer_id` is in the list. */
export type Balance = {
  readonly amount: Money;
  readonly currency: Currency;
  readonly version: number;
  /** The account's revision at which this balance was applied. */
  readonly revision: Revision;
  readonly transfer_id: string;
  readonly client_id: string;
  readonly opening: Money | null;
  /** Sum of the listed transfers that the balance does not include yet. */
  readonly half_applied: Money | null;
  /** Difference between the balance and the listed transfers. The account is disputed unless the difference is zero. */
  readonly drift: Money | null;
  readonly disputed_since: Instant | null;
};

/** A transfer. `total` is the running sum in the account's order: opening + total is the balance after it. */
export type Transfer = {
  readonly id: string;
  readonly amount: Money;
  readonly total: Money;
  /** Time by the producer's clock. */
  readonly occurred_at: Instant;
  readonly revision: Revision;
  /** Topic, partition and offset, such as "transfers/3@5512". */
  readonly source: string;
};

/** A transfer with the time by Kafka's clock (REST). Gateways of earlier releases do not send that time. */
export type TransferDetail = Transfer & { readonly recorded_at?: Instant };

/** Transfers at about equal distances of a period, oldest first (REST). */
export type ChartPage = {
  readonly epoch: Epoch;
  readonly points: readonly {
    readonly revision: Revision;
    readonly total: Money;
    readonly recorded_at: Instant;
  }[];
};

/** Transfers that match a search, newest first. The account was at `revision` of `epoch`. */
export type SearchPage = TransferListPage & { readonly revision: Revision };

/** Revisions that a snapshot leaves out. The client reads them over REST (`after_revision`). */
export type Gap = { readonly from: Revision; readonly to: Revision };

export type Welcome = {
  readonly type: 'welcome';
  readonly session: string;
  readonly gateway: string;
  readonly version: string;
  readonly server_time: Instant;
  readonly heartbeat_ms: number;
  readonly features?: readonly string[];
};

/** An account's state at a revision: `transfers` newest first, `cursor` for older transfers. */
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

/** A change of a state at `from`: `transfers` oldest first. A page with `more` has no balance. */
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

/** A transfer in a patch. Without `revision` it is the next: that of the first is `from` + 1. */
export type TransferPatch = Omit<Transfer, 'revision'> & { readonly revision?: Revision };

/**
 * What the next delta has, and the delta before it on the same connection has not.
 *
 * `balance` has the fields that changed. If `version` is among them, an absent `revision` is `to`, and an absent
 * `transfer_id` is the id of the newest transfer in this patch, or else in the delta before it.
 */
export type Patch = {
  readonly type: 'patch';
  readonly channel: string;
  readonly epoch: Epoch;
  readonly from: Revision;
  readonly to: Revision;
  readonly recorded_at: Instant;
  readonly transfers?: readonly TransferPatch[];
  readonly balance?: Partial<Balance>;
};

/** An account of a set: its newest balance, without transfers. */
export type Member = {
  readonly account: AccountId;
  /** The account's revision, as in its own channel. */
  readonly revision: Revision;
  readonly amount: Money;
  readonly currency: Currency;
  readonly client_id: string;
  readonly disputed_since: Instant | null;
};

/** The sum of the balances in a currency, and the number of members that have this currency. */
export type Total = { readonly currency: Currency; readonly amount: Money; readonly accounts: number };

/** `totals` and `lanes` are in the last page. With `more`, the state is between two positions. */
type SetPage = {
  readonly channel: string;
  readonly epoch: Epoch;
  /** Number of the newest change of which the client then knows. */
  readonly to: number;
  readonly members: readonly Member[];
  readonly more?: boolean;
  readonly totals?: readonly Total[];
  /** Number of the newest batch of each lane that changed. */
  readonly lanes?: Readonly<Record<string, number>>;
};

/** Begins a new state of a set. */
export type SetSnapshot = SetPage & {
  readonly type: 'set_snapshot';
  readonly reason: 'subscribed' | 'replaced';
};

/** A change of a set's state at number `from`. */
export type SetDelta = SetPage & {
  readonly type: 'set_delta';
  readonly from: number;
  readonly left?: readonly AccountId[];
};

export type Heartbeat = {
  readonly type: 'heartbeat';
  readonly server_time: Instant;
  /** Everything recorded up to this time has been sent; null if that time is unknown. */
  readonly as_of: Instant | null;
};

export type Status = {
  readonly type: 'status';
  readonly state: 'live' | 'catching_up' | 'stalled';
  readonly since: Instant;
  readonly reason?: string;
};

export type Ok = { readonly type: 'ok'; readonly id: string | number };

export type ErrorFrame = {
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
  | Welcome
  | Snapshot
  | Delta
  | Patch
  | SetSnapshot
  | SetDelta
  | Heartbeat
  | Status
  | Ok
  | ErrorFrame
  | Unsubscribed
  | AuthExpiring
  | Goaway;

/** Authenticates the session. First message, unless a cookie holds the token. */
export type Auth = { readonly type: 'auth'; readonly token: string };
/** Replaces the token by another token of the same subject. Subscriptions stay. */
export type Refresh = { readonly type: 'refresh'; readonly id: string; readonly token: string };
export type SubscribeRequest = { readonly channel: ChannelName | SetName; readonly position?: Position };
export type Subscribe = {
  readonly type: 'subscribe';
  readonly id: string;
  readonly channels: readonly SubscribeRequest[];
  /** Gateways ignore features that they do not know. */
  readonly features?: readonly 'patches'[];
};
export type Unsubscribe = {
  readonly type: 'unsubscribe';
  readonly id: string;
  readonly channels: readonly (ChannelName | SetName)[];
};
/** Limits the deltas of each channel per second; null removes the limit. */
export type Rate = { readonly type: 'rate'; readonly id: string; readonly max_per_second: number | null };
export type Ping = { readonly type: 'ping'; readonly id: string };

export type ClientFrame = Auth | Refresh | Subscribe | Unsubscribe | Rate | Ping;

/** A row of the account list (REST). */
export type AccountRow = {
  readonly account: AccountId;
  readonly epoch: Epoch;
  readonly revision: Revision;
  readonly balance: Balance | null;
};

/** A page of accounts, complete as of `as_of`. Gateways of earlier releases do not send that time. */
export type AccountListPage = {
  readonly accounts: readonly AccountRow[];
  readonly next: string | null;
  readonly as_of?: Instant | null;
};

/** A page of transfers. `next` is the cursor of the next page. */
export type TransferListPage = {
  readonly epoch: Epoch;
  readonly transfers: readonly Transfer[];
  readonly next: string | null;
};
