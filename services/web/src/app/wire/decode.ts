/** Text from a gateway into frames. Total: whatever the text, the answer is a frame, UNKNOWN or BROKEN. */

import * as frame from './frame';
import { accountId, epoch, instant, revision } from './identity';
import { money } from './money';
import {
  Misfit,
  either,
  flag,
  list,
  named,
  nullable,
  oneOf,
  record,
  struct,
  text,
  whole,
  type Read,
} from './shape';

/** A type this page does not know yet: ignored. */
export const UNKNOWN = Symbol('unknown');
/** Not a frame of this protocol: the server is broken. */
export const BROKEN = Symbol('broken');

const readRevision = named(whole, revision);
const readEpoch = named(text, epoch);
const readInstant = named(text, instant);
const readMoney = named(text, money);
const readId = either(text, whole);

const balance: Read<frame.Balance> = struct({
  amount: readMoney,
  currency: nullable(text),
  version: whole,
  revision: readRevision,
  transfer_id: text,
  client_id: text,
  opening: nullable(readMoney),
  half_applied: nullable(readMoney),
  drift: nullable(readMoney),
  disputed_since: nullable(readInstant),
});

const transfer: Read<frame.Transfer> = struct({
  id: text,
  amount: readMoney,
  total: readMoney,
  occurred_at: readInstant,
  revision: readRevision,
  source: text,
});

const gap: Read<frame.Gap> = struct({ from: readRevision, to: readRevision });

type Readers = { [F in frame.ServerFrame as F['type']]: Read<F> };

const readers: Readers = {
  welcome: struct({
    type: oneOf('welcome'),
    session: text,
    gateway: text,
    version: text,
    server_time: readInstant,
    heartbeat_ms: whole,
  }),
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
  heartbeat: struct({ type: oneOf('heartbeat'), server_time: readInstant, as_of: nullable(readInstant) }),
  status: struct(
    { type: oneOf('status'), state: oneOf('live', 'catching_up', 'stalled'), since: readInstant },
    { reason: text },
  ),
  ok: struct({ type: oneOf('ok'), id: readId }),
  error: struct(
    { type: oneOf('error'), code: text, message: text, temporary: flag },
    { id: readId, channel: text, retry_after_ms: whole },
  ),
  unsubscribed: struct({ type: oneOf('unsubscribed'), channel: text, code: text, message: text }),
  auth_expiring: struct({ type: oneOf('auth_expiring'), expires_at: readInstant }),
  goaway: struct({ type: oneOf('goaway'), reason: text, reconnect_within_ms: whole }),
};

export function decode(line: string): frame.ServerFrame | typeof UNKNOWN | typeof BROKEN {
  return total(() => {
    const value: unknown = JSON.parse(line);
    const type = text(record(value)['type']);
    return Object.hasOwn(readers, type) ? readers[type as keyof Readers](value) : UNKNOWN;
  });
}

const accountPage: Read<frame.AccountPage> = struct({
  accounts: list(
    struct({
      account: named(text, accountId),
      epoch: readEpoch,
      revision: readRevision,
      balance: nullable(balance),
    }),
  ),
  next: nullable(text),
});

const transferPage: Read<frame.TransferPage> = struct({ transfers: list(transfer), next: nullable(text) });

/** Bodies of REST, already parsed from JSON. */
export const decodeAccounts = (body: unknown) => total(() => accountPage(body));
export const decodeTransfers = (body: unknown) => total(() => transferPage(body));

function total<T>(read: () => T): T | typeof BROKEN {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof Misfit || cause instanceof SyntaxError) return BROKEN;
    throw cause;
  }
}
