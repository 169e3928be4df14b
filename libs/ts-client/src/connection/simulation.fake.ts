/** A client, a fake gateway and the network between them, driven step by step by tests. */

import { applyFrame, withMissing, withOlder, type AccountState } from '../account/account-state.js';
import { INVALID, UNKNOWN_TYPE, decode } from '../wire/decode.js';
import type { ClientFrame, Delta, ServerFrame } from '../wire/frame.js';
import type { AccountId } from '../wire/identity.js';
import type { Channel } from './channel.js';
import { FakeGateway, FakeProjection } from './gateway.fake.js';
import { step } from './session.js';
import { NEW_SESSION, wakeAt, type Session, type SessionEffect, type SessionEvent } from './session-state.js';

export const ACCOUNT = 'acc-1' as AccountId;

/** A deliberate fault of the client, to prove that tests detect it. Without fields the client is correct. */
export type Mutant = {
  readonly alterFrame?: (frame: ServerFrame, session: Session) => ServerFrame;
  readonly applyFrame?: typeof applyFrame;
};

export class Simulation {
  readonly projection = new FakeProjection();
  session: Session = NEW_SESSION;
  state: AccountState | null = null;
  now = 0;
  /** The connection is half-open: both sides consider it open, but nothing arrives. */
  halfOpen = false;
  sent: ClientFrame[] = [];
  #gateway: FakeGateway | null = null;
  #connecting = false;
  #serial = 0;

  constructor(readonly mutant: Mutant = {}) {
    this.dispatch({ kind: 'follow', added: new Map([[ACCOUNT, null]]), removed: [] });
  }

  get channel(): Channel | null {
    return this.session.channels.get(ACCOUNT) ?? null;
  }

  get gateway(): FakeGateway | null {
    return this.halfOpen ? null : this.#gateway;
  }

  dispatch(event: SessionEvent, jitter = 0.5): void {
    this.#serial += 1;
    const context = { now: this.now, jitter, serial: this.#serial };
    const [session, ...effects] = step(this.session, event, context);
    this.session = session;
    effects.forEach((effect) => {
      this.#perform(effect);
    });
  }

  acceptConnection(): void {
    if (!this.#connecting) return;
    this.#connecting = false;
    this.halfOpen = false;
    this.#gateway = new FakeGateway(this.projection, ACCOUNT);
    this.dispatch({ kind: 'opened', token: null });
    this.#gateway.welcome();
  }

  refuseConnection(): void {
    if (!this.#connecting) return;
    this.#connecting = false;
    this.dispatch({ kind: 'closed', code: 1006, reason: '' });
  }

  /** Passes the client's oldest frame to `answer`. */
  serve(answer: (gateway: FakeGateway, frame: ClientFrame) => void): void {
    const gateway = this.gateway;
    const frame = gateway === null ? undefined : this.sent.shift();
    if (gateway !== null && frame !== undefined) answer(gateway, frame);
  }

  /** Delivers the gateway's oldest frame to the client. */
  deliver(): void {
    const text = this.gateway?.outbound.shift();
    if (text === undefined) return;
    const frame = decode(text);
    if (frame === INVALID || frame === UNKNOWN_TYPE) throw new Error(`invalid frame: ${text}`);
    this.dispatch({ kind: 'received', frame: this.mutant.alterFrame?.(frame, this.session) ?? frame });
  }

  deliverAll(): void {
    while ((this.gateway?.outbound.length ?? 0) > 0) this.deliver();
  }

  closeConnection(code: number, reason = ''): void {
    if (this.#gateway === null) return;
    this.#dropConnection();
    this.dispatch({ kind: 'closed', code, reason });
  }

  /** Advances the time, with a tick whenever the session needs one. */
  advance(ms: number): void {
    const end = this.now + ms;
    for (let due = wakeAt(this.session); due !== null && due <= end; due = wakeAt(this.session)) {
      this.now = Math.max(this.now, due);
      this.dispatch({ kind: 'tick' });
    }
    this.now = end;
  }

  /** Reads one page of missing or older transfers, as over REST. */
  readPage(): void {
    const state = this.state;
    if (state?.epoch !== this.projection.epoch) return;
    const { missing, older } = state;
    if (missing !== null) this.state = withMissing(state, missing, this.projection.pageAfter(missing.from));
    else if (older.kind === 'cursor')
      this.state = withOlder(state, older, this.projection.olderPage(older.cursor));
  }

  /** Ends all faults: every frame arrives, and enough time passes for the client to recover. */
  heal(): void {
    for (let round = 0; round < 60; round += 1) {
      this.acceptConnection();
      while (this.sent.length > 0 && this.gateway !== null) {
        this.serve((gateway, frame) => {
          gateway.answer(frame, round % 2 === 0);
        });
      }
      if (round < 50) this.projection.addTransfer(round); // a later change reveals an earlier loss
      this.gateway?.publish();
      this.gateway?.heartbeat();
      this.deliverAll();
      this.advance(1_000);
    }
    for (let page = 0; page < 500; page += 1) this.readPage();
  }

  #perform(effect: SessionEffect): void {
    switch (effect.kind) {
      case 'connect':
        this.#connecting = true;
        return;
      case 'close':
        this.#connecting = false;
        this.#dropConnection();
        return;
      case 'send':
        this.sent.push(effect.frame);
        return;
      case 'apply':
        this.state = (this.mutant.applyFrame ?? applyFrame)(this.state, effect.frame);
        return;
      case 'applySet':
        throw new Error('the simulation follows no set');
      case 'reload':
        throw new Error('the simulation must not cause a reload');
    }
  }

  #dropConnection(): void {
    this.#gateway = null;
    this.sent = [];
  }
}

/** Makes any delta fit the shown state, like a client that does not check `from` and `epoch`. */
export function forceFit(frame: ServerFrame, { channels }: Session): ServerFrame {
  const position = channels.get(ACCOUNT)?.position ?? null;
  if (frame.type !== 'delta' || position === null || frame.to <= position.revision) return frame;
  const transfers = frame.transfers.filter((row) => row.revision > position.revision);
  return { ...frame, transfers, from: position.revision, epoch: position.epoch } satisfies Delta;
}
