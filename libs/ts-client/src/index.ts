/** `@livebalance/client`: follows balances and transfers of accounts live and exactly. */

export { Client, type ClientOptions } from './client.js';
export type { Listener } from './followed-account.js';
export type { SetListener } from './sets/followed-set.js';
export type { SetState, SetView } from './sets/set-state.js';
export { Unavailable, type AccountList, type Api } from './api.js';
export { NO_COUNTERS, type ClientEvent, type Counters } from './events.js';
export type { TokenProvider } from './token.js';
export { indexedDbStorage } from './indexed-db.js';
export type { StateStorage } from './storage.js';
export type { StoredState } from './account/stored-state.js';
export type { AccountView, Loading } from './account/account-view.js';
export type { AccountState, Older } from './account/account-state.js';
export type { Channel, Phase } from './connection/channel.js';
export { asOfAge, isDelayed } from './connection/freshness.js';
export type { Connection, OpenConnection, Session } from './connection/session-state.js';
export type {
  AccountListPage,
  AccountRow,
  Balance,
  ChartPage,
  Delta,
  Gap,
  Member,
  SearchPage,
  Snapshot,
  Total,
  Transfer,
  TransferDetail,
  TransferListPage,
} from './wire/frame.js';
export {
  accountId,
  millis,
  setName,
  type AccountId,
  type Epoch,
  type Instant,
  type Position,
  type Revision,
  type SetName,
} from './wire/identity.js';
export {
  atScale,
  fromParts,
  minus,
  money,
  parts,
  plus,
  sameValue,
  sign,
  type Currency,
  type Money,
} from './wire/money.js';
