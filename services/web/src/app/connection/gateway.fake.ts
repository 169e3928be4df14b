/**
 * A gateway and the truth behind it, as values: enough of the protocol to be true, and every fault at will.
 *
 * Frames cross as text in both directions, in order, until the connection is cut.
 */

import type { Balance, ClientFrame, ServerFrame, Subscribe, Transfer, TransferPage } from '../wire/frame';
import {
  channelName,
  epoch,
  revision,
  type AccountId,
  type Epoch,
  type Instant,
  type Revision,
} from '../wire/identity';
import { money, plus, type Money } from '../wire/money';

export const SNAPSHOT_ROWS = 3;
export const PAGE_ROWS = 2;
export const RESUME_MAX = 5;
export const HEARTBEAT_MS = 10_000;
const SOME_TIME = '2026-11-24T17:20:00.000Z' as Instant;

export const rev = (value: number): Revision => revision(value) ?? fail(value);
const sum = (text: string): Money => money(text) ?? fail(text);

function fail(value: unknown): never {
  throw new Error(`not well formed: ${String(value)}`);
}

/** One account's history: at index r − 1 the transfer, or the balance, that made revision r. */
export class Truth {
  epoch: Epoch = epoch('0000000000000000') ?? fail('epoch');
  #epochs = 0;
  #changes: (Transfer | Balance)[] = [];
  #ids = 0;

  get revision(): Revision {
    return rev(this.#changes.length);
  }

  /** Newest first. */
  rows(upTo: Revision = this.revision): readonly Transfer[] {
    return this.#changes.slice(0, upTo).filter(isTransfer).reverse();
  }

  balance(upTo: Revision = this.revision): Balance | null {
    return this.#changes.slice(0, upTo).findLast(isBalance) ?? null;
  }

  transfer(cents: number): void {
    this.#ids += 1;
    const amount = sum(`${cents}`);
    const total = plus(this.rows()[0]?.total ?? sum('0'), amount);
    const at = this.#changes.length + 1;
    this.#changes.push({
      id: `t-${this.#ids}`,
      amount,
      total,
      occurred_at: SOME_TIME,
      revision: rev(at),
      source: `transfers/0@${at}`,
    });
  }

  settle(): void {
    const newest = this.rows()[0];
    this.#changes.push({
      amount: newest?.total ?? sum('0'),
      currency: 'EUR',
      version: this.#changes.length,
      revision: rev(this.#changes.length + 1),
      transfer_id: newest?.id ?? '',
      client_id: 'client-1',
      opening: sum('0'),
      half_applied: sum('0'),
      drift: sum('0'),
      disputed_since: null,
    });
  }

  /** Commits were lost: the newest changes are gone, and revisions mean something else from here on. */
  forget(changes: number): void {
    this.#changes.splice(Math.max(0, this.#changes.length - changes));
    this.#epochs += 1;
    this.epoch = epoch(this.#epochs.toString(16).padStart(16, '0')) ?? fail(this.#epochs);
  }

  older(cursor: string): TransferPage {
    const below = this.rows().filter((row) => row.revision < Number(cursor));
    return page(below);
  }

  after(from: Revision): TransferPage {
    return page(
      this.rows()
        .filter((row) => row.revision > from)
        .reverse(),
    );
  }
}

function page(rows: readonly Transfer[]): TransferPage {
  const transfers = rows.slice(0, PAGE_ROWS);
  const more = rows.length > PAGE_ROWS;
  return { transfers, next: more ? `${transfers.at(-1)?.revision ?? 0}` : null };
}

const isTransfer = (change: Transfer | Balance): change is Transfer => 'total' in change;
const isBalance = (change: Transfer | Balance): change is Balance => 'version' in change;

/** One session; `sent` is how far the client has been told, as the gateway believes. */
export class Gateway {
  readonly #channel;
  #sent: Revision | null = null;
  #epoch: Epoch | null = null;
  #last: ServerFrame | null = null;
  /** To the client, oldest first. */
  outbound: string[] = [];

  constructor(
    readonly truth: Truth,
    account: AccountId,
  ) {
    this.#channel = channelName(account);
  }

  welcome(): void {
    this.#send({
      type: 'welcome',
      session: 's',
      gateway: 'gateway-1',
      version: '1',
      server_time: SOME_TIME,
      heartbeat_ms: HEARTBEAT_MS,
    });
  }

  heartbeat(): void {
    this.#send({ type: 'heartbeat', server_time: SOME_TIME, as_of: null });
  }

  /** `okFirst`: clients must not care whether "ok" comes before or after the answer. */
  answer(frame: ClientFrame, okFirst: boolean): void {
    if (frame.type === 'auth') {
      this.welcome();
      return;
    }
    if (okFirst) this.#send({ type: 'ok', id: frame.id });
    if (frame.type === 'subscribe') this.#catchUp(frame);
    if (!okFirst) this.#send({ type: 'ok', id: frame.id });
  }

  refuse(frame: ClientFrame): void {
    if (frame.type === 'auth') {
      this.welcome(); // a refused token ends the connection; that is told by a close
      return;
    }
    this.#send({
      type: 'error',
      id: frame.id,
      code: 'unavailable',
      message: 'later',
      temporary: true,
      retry_after_ms: 100,
    });
  }

  /** What happened since, in one delta; a new epoch as a snapshot. */
  publish(): void {
    if (this.#sent === null) return;
    if (this.#epoch !== this.truth.epoch) this.#snapshot('epoch');
    else if (this.#sent < this.truth.revision) this.#delta(this.#sent);
  }

  /** A delta that never arrives. */
  lose(): void {
    if (this.#sent !== null && this.#epoch === this.truth.epoch) this.#sent = this.truth.revision;
  }

  repeat(): void {
    if (this.#last !== null) this.#send(this.#last);
  }

  /** A delta that begins before what was sent. */
  overlap(): void {
    if (this.#sent === null || this.#epoch !== this.truth.epoch || this.#sent === 0) return;
    this.#delta(rev(this.#sent - 1));
  }

  #catchUp({ channels: [wanted] }: Subscribe): void {
    const at = wanted?.position;
    const { revision: now, epoch: mine } = this.truth;
    if (at === undefined) this.#snapshot('subscribed');
    else if (at.epoch !== mine) this.#snapshot('epoch');
    else if (at.revision > now) this.#snapshot('ahead');
    else if (now - at.revision > RESUME_MAX) this.#snapshot('too_far', at.revision);
    else this.#pages(at.revision);
  }

  /** One transfer a page, the balance with the last. */
  #pages(from: Revision): void {
    this.#epoch = this.truth.epoch;
    this.#sent = from;
    const missed = this.truth
      .rows()
      .filter((row) => row.revision > from)
      .reverse();
    for (const row of missed.slice(0, -1)) {
      this.#deltaOf({ from: this.#sent, to: row.revision, transfers: [row], more: true });
    }
    if (this.#sent < this.truth.revision) this.#delta(this.#sent);
  }

  #delta(from: Revision): void {
    const transfers = this.truth
      .rows()
      .filter((row) => row.revision > from)
      .reverse();
    this.#deltaOf({ from, to: this.truth.revision, transfers, balance: this.truth.balance() });
  }

  #deltaOf(part: {
    from: Revision;
    to: Revision;
    transfers: Transfer[];
    more?: true;
    balance?: Balance | null;
  }): void {
    this.#sent = part.to;
    this.#last = {
      type: 'delta',
      channel: this.#channel,
      epoch: this.truth.epoch,
      recorded_at: SOME_TIME,
      ...part,
    };
    this.#send(this.#last);
  }

  #snapshot(reason: 'subscribed' | 'epoch' | 'ahead' | 'too_far', from?: Revision): void {
    const rows = this.truth.rows();
    const transfers = rows.slice(0, SNAPSHOT_ROWS);
    const more = rows.length > SNAPSHOT_ROWS;
    this.#epoch = this.truth.epoch;
    this.#sent = this.truth.revision;
    this.#last = {
      type: 'snapshot',
      channel: this.#channel,
      epoch: this.#epoch,
      revision: this.#sent,
      reason,
      ...(from === undefined ? {} : { gap: { from, to: this.#sent } }),
      balance: this.truth.balance(),
      transfers,
      cursor: more ? `${transfers.at(-1)?.revision ?? 0}` : null,
      as_of: null,
    };
    this.#send(this.#last);
  }

  #send(frame: ServerFrame): void {
    this.outbound.push(JSON.stringify(frame));
  }
}
