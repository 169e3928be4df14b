/** A client, a gateway and the network between them, driven step by step: the law is checked against it. */

import { show, withMissing, withOlder, type Ledger } from '../account/ledger';
import { decode, BROKEN, UNKNOWN } from '../wire/decode';
import type { ClientFrame, Delta, ServerFrame } from '../wire/frame';
import type { AccountId } from '../wire/identity';
import { Gateway, Truth } from './gateway.fake';
import { step } from './machine';
import { START, wakeAt, type Effect, type Event, type Machine } from './state';

export const ACCOUNT = 'acc-1' as AccountId;

/** What may be wrong with a client; a right one changes nothing. */
export type Mutant = {
  readonly hear?: (frame: ServerFrame, machine: Machine) => ServerFrame;
  readonly show?: typeof show;
};

export class World {
  readonly truth = new Truth();
  machine: Machine = START;
  ledger: Ledger | null = null;
  now = 0;
  /** Half-open: both sides believe in the connection, and nothing arrives. */
  silent = false;
  sent: ClientFrame[] = [];
  #gateway: Gateway | null = null;
  #dialling = false;
  #serial = 0;

  constructor(readonly mutant: Mutant = {}) {
    this.dispatch({ kind: 'follow', account: ACCOUNT });
  }

  get gateway(): Gateway | null {
    return this.silent ? null : this.#gateway;
  }

  dispatch(event: Event, chance = 0.5): void {
    this.#serial += 1;
    const [machine, ...effects] = step(this.machine, event, { now: this.now, chance, serial: this.#serial });
    this.machine = machine;
    effects.forEach((effect) => {
      this.#perform(effect);
    });
  }

  accept(): void {
    if (!this.#dialling) return;
    this.#dialling = false;
    this.silent = false;
    this.#gateway = new Gateway(this.truth, ACCOUNT);
    this.dispatch({ kind: 'opened', token: null });
    this.#gateway.welcome();
  }

  refuse(): void {
    if (!this.#dialling) return;
    this.#dialling = false;
    this.dispatch({ kind: 'closed', code: 1006, reason: '' });
  }

  /** The gateway reads one frame of the client. */
  serve(answer: (gateway: Gateway, frame: ClientFrame) => void): void {
    const gateway = this.gateway;
    const frame = gateway === null ? undefined : this.sent.shift();
    if (gateway !== null && frame !== undefined) answer(gateway, frame);
  }

  /** The client hears one frame of the gateway. */
  deliver(): void {
    const text = this.gateway?.outbound.shift();
    if (text === undefined) return;
    const frame = decode(text);
    if (frame === BROKEN || frame === UNKNOWN) throw new Error(`not a frame: ${text}`);
    this.dispatch({ kind: 'heard', frame: this.mutant.hear?.(frame, this.machine) ?? frame });
  }

  cut(code: number, reason = ''): void {
    if (this.#gateway === null) return;
    this.#forget();
    this.dispatch({ kind: 'closed', code, reason });
  }

  /** Time goes on; the client wakes whenever it asked to. */
  pass(ms: number): void {
    const end = this.now + ms;
    for (let due = wakeAt(this.machine); due !== null && due <= end; due = wakeAt(this.machine)) {
      this.now = Math.max(this.now, due);
      this.dispatch({ kind: 'tick' });
    }
    this.now = end;
  }

  /** One page of what is missing or older, read over REST. */
  read(): void {
    const ledger = this.ledger;
    if (ledger?.epoch !== this.truth.epoch) return;
    const { missing, older } = ledger;
    if (missing !== null) this.ledger = withMissing(ledger, missing, this.truth.after(missing.from));
    else if (older.kind === 'cursor') this.ledger = withOlder(ledger, older, this.truth.older(older.cursor));
  }

  /** All faults end: everything sent arrives, and time goes on. */
  heal(): void {
    for (let round = 0; round < 60; round += 1) {
      this.accept();
      while (this.sent.length > 0 && this.gateway !== null) {
        this.serve((gateway, frame) => {
          gateway.answer(frame, round % 2 === 0);
        });
      }
      if (round < 50) this.truth.transfer(round); // a later change shows what was lost before
      this.gateway?.publish();
      this.gateway?.heartbeat();
      while ((this.gateway?.outbound.length ?? 0) > 0) this.deliver();
      this.pass(1_000);
    }
    for (let page = 0; page < 500; page += 1) this.read();
  }

  #perform(effect: Effect): void {
    switch (effect.kind) {
      case 'open':
        this.#dialling = true;
        return;
      case 'close':
        this.#dialling = false;
        this.#forget();
        return;
      case 'send':
        this.sent.push(effect.frame);
        return;
      case 'show':
        this.ledger = (this.mutant.show ?? show)(this.ledger, effect.frame);
        return;
      case 'reload':
        throw new Error('nothing here asks for a reload');
    }
  }

  #forget(): void {
    this.#gateway = null;
    this.sent = [];
  }
}

/** A delta made to fit whatever is shown: what a client does that does not check the chain. */
export function forced(frame: ServerFrame, { channel }: Machine): ServerFrame {
  const mine = channel?.position ?? null;
  if (frame.type !== 'delta' || mine === null || frame.to <= mine.revision) return frame;
  const transfers = frame.transfers.filter((row) => row.revision > mine.revision);
  return { ...frame, transfers, from: mine.revision, epoch: mine.epoch } satisfies Delta;
}
