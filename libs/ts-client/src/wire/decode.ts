/** Decodes JSON of a gateway. Bad input gives `UNKNOWN_TYPE` or `INVALID`, and never an exception. */

import * as frame from './frame.js';
import { accountId, epoch, instant, revision } from './identity.js';
import { money } from './money.js';
import {
  DecodeError,
  dictionary,
  either,
  flag,
  list,
  nullable,
  oneOf,
  parsed,
  record,
  struct,
  text,
  wholeNumber,
  type Reader,
} from './json-reader.js';

/** Result for a frame of a type that this client does not know. The client ignores the frame. */
export const UNKNOWN_TYPE = Symbol('unknown type');
/** Result for input that violates the protocol. */
export const INVALID = Symbol('invalid');

export const readRevision = parsed(wholeNumber, revision);
export const readEpoch = parsed(text, epoch);
const readInstant = parsed(text, instant);
const readMoney = parsed(text, money);
const readId = either(text, wholeNumber);

const balanceFields = {
  amount: readMoney,
  currency: nullable(text),
  version: wholeNumber,
  revision: readRevision,
  transfer_id: text,
  client_id: text,
  opening: nullable(readMoney),
  half_applied: nullable(readMoney),
  drift: nullable(readMoney),
  disputed_since: nullable(readInstant),
};
export const balance: Reader<frame.Balance> = struct(balanceFields);

const transferPatchFields = {
  id: text,
  amount: readMoney,
  total: readMoney,
  occurred_at: readInstant,
  source: text,
};
const transferFields = { ...transferPatchFields, revision: readRevision };
export const transfer: Reader<frame.Transfer> = struct(transferFields);
const transferDetail: Reader<frame.TransferDetail> = struct(transferFields, { recorded_at: readInstant });

const readAccount = parsed(text, accountId);

const setPage = {
  channel: text,
  epoch: readEpoch,
  to: wholeNumber,
  members: list(
    struct({
      account: readAccount,
      revision: readRevision,
      amount: readMoney,
      currency: nullable(text),
      client_id: text,
      disputed_since: nullable(readInstant),
    }),
  ),
};
const setPosition = {
  more: flag,
  totals: list(struct({ currency: nullable(text), amount: readMoney, accounts: wholeNumber })),
  lanes: dictionary(wholeNumber),
};

export const gap: Reader<frame.Gap> = struct({ from: readRevision, to: readRevision });

type Readers = { [F in frame.ServerFrame as F['type']]: Reader<F> };

const readers: Readers = {
  welcome: struct(
    {
      type: oneOf('welcome'),
      session: text,
      gateway: text,
      version: text,
      server_time: readInstant,
      heartbeat_ms: wholeNumber,
    },
    { features: list(text) },
  ),
  snapshot: struct(
    {
      type: oneOf('snapshot'),
      channel: text,
      epoch: readEpoch,
      revision: readRevision,
      reason: oneOf('subscribed', 'too_far', 'ahead', 'epoch'),
      balance: nullable(balance),
      transfers: list(transfer),
      cursor: nullable(text),
      as_of: nullable(readInstant),
    },
    { gap },
  ),
  delta: struct(
    {
      type: oneOf('delta'),
      channel: text,
      epoch: readEpoch,
      from: readRevision,
      to: readRevision,
      transfers: list(transfer),
      recorded_at: readInstant,
    },
    { more: flag, balance: nullable(balance) },
  ),
  patch: struct(
    {
      type: oneOf('patch'),
      channel: text,
      epoch: readEpoch,
      from: readRevision,
      to: readRevision,
      recorded_at: readInstant,
    },
    {
      transfers: list(struct(transferPatchFields, { revision: readRevision })),
      balance: struct({}, balanceFields),
    },
  ),
  set_snapshot: struct(
    { type: oneOf('set_snapshot'), reason: oneOf('subscribed', 'replaced'), ...setPage },
    setPosition,
  ),
  set_delta: struct(
    { type: oneOf('set_delta'), from: wholeNumber, ...setPage },
    { left: list(readAccount), ...setPosition },
  ),
  heartbeat: struct({ type: oneOf('heartbeat'), server_time: readInstant, as_of: nullable(readInstant) }),
  status: struct(
    { type: oneOf('status'), state: oneOf('live', 'catching_up', 'stalled'), since: readInstant },
    { reason: text },
  ),
  ok: struct({ type: oneOf('ok'), id: readId }),
  error: struct(
    { type: oneOf('error'), code: text, message: text, temporary: flag },
    { id: readId, channel: text, retry_after_ms: wholeNumber },
  ),
  unsubscribed: struct({ type: oneOf('unsubscribed'), channel: text, code: text, message: text }),
  auth_expiring: struct({ type: oneOf('auth_expiring'), expires_at: readInstant }),
  goaway: struct({ type: oneOf('goaway'), reason: text, reconnect_within_ms: wholeNumber }),
};

export function decode(json: string): frame.ServerFrame | typeof UNKNOWN_TYPE | typeof INVALID {
  return orInvalid(() => {
    const value: unknown = JSON.parse(json);
    const type = text(record(value)['type']);
    return Object.hasOwn(readers, type) ? readers[type as keyof Readers](value) : UNKNOWN_TYPE;
  });
}

const accountListPage: Reader<frame.AccountListPage> = struct(
  {
    accounts: list(
      struct({
        account: readAccount,
        epoch: readEpoch,
        revision: readRevision,
        balance: nullable(balance),
      }),
    ),
    next: nullable(text),
  },
  { as_of: nullable(readInstant) },
);

const transferListPage: Reader<frame.TransferListPage> = struct({
  epoch: readEpoch,
  transfers: list(transfer),
  next: nullable(text),
});

const searchPage: Reader<frame.SearchPage> = struct({
  epoch: readEpoch,
  revision: readRevision,
  transfers: list(transfer),
  next: nullable(text),
});

const chartPage: Reader<frame.ChartPage> = struct({
  epoch: readEpoch,
  points: list(struct({ revision: readRevision, total: readMoney, recorded_at: readInstant })),
});

/** Decodes the REST response of `GET /api/v1/accounts/{account}`. */
export const decodeSnapshot = (body: unknown) => orInvalid(() => readers.snapshot(body));
/** Decodes the REST response of `GET /api/v1/accounts`. */
export const decodeAccounts = (body: unknown) => orInvalid(() => accountListPage(body));
/** Decodes the REST response of `GET /api/v1/accounts/{account}/transfers`. */
export const decodeTransfers = (body: unknown) => orInvalid(() => transferListPage(body));
/** Decodes the REST response of `GET /api/v1/accounts/{account}/transfers/{transfer}`. */
export const decodeTransfer = (body: unknown) => orInvalid(() => transferDetail(body));
/** Decodes the REST response of `GET /api/v1/accounts/{account}/search`. */
export const decodeSearch = (body: unknown) => orInvalid(() => searchPage(body));
/** Decodes the REST response of `GET /api/v1/accounts/{account}/chart`. */
export const decodeChart = (body: unknown) => orInvalid(() => chartPage(body));

function orInvalid<T>(read: () => T): T | typeof INVALID {
  try {
    return read();
  } catch (error) {
    if (error instanceof DecodeError || error instanceof SyntaxError) return INVALID;
    throw error;
  }
}
