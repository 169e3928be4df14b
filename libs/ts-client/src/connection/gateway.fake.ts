/**
 * A fake gateway and the projection that it reads, as values.
 *
 * The fake speaks enough of the protocol for the tests, and can produce every fault. Frames travel as text, in
 * order, until the connection is closed.
 */

import type {
  Balance,
  ClientFrame,
  ServerFrame,
  Subscribe,
  Transfer,
  TransferListPage,
} from '../wire/frame.js';
import {
  channelName,
  epoch,
  revision,
  type AccountId,
  type Epoch,
  type Instant,
  type Revision,
} from '../wire/identity.js';
import { money, plus, type Money } from '../wire/money.js';

export const SNAPSHOT_ROWS = 3;
export const PAGE_ROWS = 2;
export const RESUME_MAX = 5;
export const HEARTBEAT_MS = 10_000;
const TIME = '2026-11-24T17:20:00.000Z' as Instant;

export const rev = (value: number): Revision => revision(value) ?? fail(value);
const amountOf = (text: string): Money => money(text) ?? fail(text);

function fail(value: unknown): never {
  throw new Error(`malformed value: ${String(value)}`);
}

/** The projection of one account. Index r − 1 holds the transfer or balance that made revision r. */
export class FakeProjection {
  epoch: Epoch = epoch('0000000000000000') ?? fail('epoch');
  #epochs = 0;
  #changes: (Transfer | Balance)[] = [];
  #ids = 0;

  get revision(): Revision {
    return rev(this.#changes.length);
  }

  /** Returns the transfers up to a revision, newest first. */
  rows(upTo: Revision = this.revision): readonly Transfer[] {
    return this.#changes.slice(0, upTo).filter(isTransfer).reverse();
  }

  balance(upTo: Revision = this.revision): Balance | null {
    return this.#changes.slice(0, upTo).findLast(isBalance) ?? null;
  }

  addTransfer(cents: number): void {
    this.#ids += 1;
    const amount = amountOf(`${cents}`);
    const total = plus(this.rows()[0]?.total ?? amountOf('0'), amount);
    const next = this.#changes.length + 1;
    this.#changes.push({
      id: `t-${this.#ids}`,
      amount,
      total,
      occurred_at: TIME,
      revision: rev(next),
      source: `transfers/0@${next}`,
    });
  }

  addBalance(): void {
    const newest = this.rows()[0];
    this.#changes.push({
      amount: newest?.total ?? amountOf('0'),
      currency: 'EUR',
      version: this.#changes.length,
      revision: rev(this.#changes.length + 1),
      transfer_id: newest?.id ?? '',
      client_id: 'client-1',
      opening: amountOf('0'),
      half_applied: amountOf('0'),
      drift: amountOf('0'),
      disputed_since: null,
    });
  }

  /** Drops the newest changes and starts a new epoch, as after lost commits of Postgres. */
  loseCommits(count: number): void {
    this.#changes.splice(Math.max(0, this.#changes.length - count));
    this.#epochs += 1;
    this.epoch = epoch(this.#epochs.toString(16).padStart(16, '0')) ?? fail(this.#epochs);
  }

  olderPage(cursor: string): TransferListPage {
    return this.#pageOf(this.rows().filter((row) => row.revision < Number(cursor)));
  }

  pageAfter(from: Revision): TransferListPage {
    return this.#pageOf(this.rowsAfter(from));
  }

  /** Returns the transfers after a revision, oldest first. */
  rowsAfter(from: Revision): Transfer[] {
    return this.rows()
      .filter((row) => row.revision > from)
      .reverse();
  }

  #pageOf(rows: readonly Transfer[]): TransferListPage {
    const transfers = rows.slice(0, PAGE_ROWS);
    const hasMore = rows.length > PAGE_ROWS;
    return { epoch: this.epoch, transfers, next: hasMore ? `${transfers.at(-1)?.revision ?? 0}` : null };
  }
}

const isTransfer = (change: Transfer | Balance): change is Transfer => 'total' in change;
const isBalance = (change: Transfer | Balance): change is Balance => 'version' in change;

/** One session of a gateway. `#sent` is the revision that the gateway believes the client has. */
export class FakeGateway {
  readonly #channel;
  #sent: Revision | null = null;
  #epoch: Epoch | null = null;
  #lastFrame: ServerFrame | null = null;
  /** Frames that the client has not received yet, oldest first. */
  outbound: string[] = [];

  constructor(
    readonly projection: FakeProjection,
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
      server_time: TIME,
      heartbeat_ms: HEARTBEAT_MS,
    });
  }

  heartbeat(): void {
    this.#send({ type: 'heartbeat', server_time: TIME, as_of: null });
  }

  /** Answers a frame. `ok` may come before or after the answer, and clients must accept both. */
  answer(frame: ClientFrame, okFirst: boolean): void {
    if (frame.type === 'auth') {
      this.welcome();
      return;
    }
    if (okFirst) this.#send({ type: 'ok', id: frame.id });
    if (frame.type === 'subscribe') this.#answerSubscribe(frame);
    if (!okFirst) this.#send({ type: 'ok', id: frame.id });
  }

  answerUnavailable(frame: ClientFrame): void {
    if (frame.type === 'auth') {
      this.welcome(); // there is no error frame for a token: the gateway would close the connection
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

  /** Sends the changes since the last frame as one delta, or as a snapshot in a new epoch. */
  publish(): void {
    if (this.#sent === null) return;
    if (this.#epoch !== this.projection.epoch) this.#sendSnapshot('epoch');
    else if (this.#sent < this.projection.revision) this.#sendChangesAfter(this.#sent);
  }

  /** Skips the changes since the last frame, as if their delta were lost. */
  loseDelta(): void {
    if (this.#sent !== null && this.#epoch === this.projection.epoch) this.#sent = this.projection.revision;
  }

  repeatFrame(): void {
    if (this.#lastFrame !== null) this.#send(this.#lastFrame);
  }

  /** Sends a delta that begins one revision too early. */
  sendOverlappingDelta(): void {
    if (this.#sent === null || this.#epoch !== this.projection.epoch || this.#sent === 0) return;
    this.#sendChangesAfter(rev(this.#sent - 1));
  }

  #answerSubscribe({ channels: [request] }: Subscribe): void {
    const position = request?.position;
    const { revision: current, epoch: currentEpoch } = this.projection;
    if (position === undefined) this.#sendSnapshot('subscribed');
    else if (position.epoch !== currentEpoch) this.#sendSnapshot('epoch');
    else if (position.revision > current) this.#sendSnapshot('ahead');
    else if (current - position.revision > RESUME_MAX) this.#sendSnapshot('too_far', position.revision);
    else this.#sendPages(position.revision);
  }

  /** Sends one page for each transfer. The last page has the balance. */
  #sendPages(from: Revision): void {
    this.#epoch = this.projection.epoch;
    this.#sent = from;
    const missed = this.projection.rowsAfter(from);
    for (const row of missed.slice(0, -1)) {
      this.#sendDelta({ from: this.#sent, to: row.revision, transfers: [row], more: true });
    }
    if (this.#sent < this.projection.revision) this.#sendChangesAfter(this.#sent);
  }

  #sendChangesAfter(from: Revision): void {
    const transfers = this.projection.rowsAfter(from);
    this.#sendDelta({ from, to: this.projection.revision, transfers, balance: this.projection.balance() });
  }

  #sendDelta(fields: {
    from: Revision;
    to: Revision;
    transfers: Transfer[];
    more?: true;
    balance?: Balance | null;
  }): void {
    this.#sent = fields.to;
    this.#lastFrame = {
      type: 'delta',
      channel: this.#channel,
      epoch: this.projection.epoch,
      recorded_at: TIME,
      ...fields,
    };
    this.#send(this.#lastFrame);
  }

  #sendSnapshot(reason: 'subscribed' | 'epoch' | 'ahead' | 'too_far', from?: Revision): void {
    const rows = this.projection.rows();
    const transfers = rows.slice(0, SNAPSHOT_ROWS);
    const hasMore = rows.length > SNAPSHOT_ROWS;
    this.#epoch = this.projection.epoch;
    this.#sent = this.projection.revision;
    this.#lastFrame = {
      type: 'snapshot',
      channel: this.#channel,
      epoch: this.#epoch,
      revision: this.#sent,
      reason,
      ...(from === undefined ? {} : { gap: { from, to: this.#sent } }),
      balance: this.projection.balance(),
      transfers,
      cursor: hasMore ? `${transfers.at(-1)?.revision ?? 0}` : null,
      as_of: null,
    };
    this.#send(this.#lastFrame);
  }

  #send(frame: ServerFrame): void {
    this.outbound.push(JSON.stringify(frame));
  }
}
