/**
 * Plays the dialogues of `tests/contract/dialogues/README.md`, as the gateway and the Python client do.
 */

import { expect, it } from 'vitest';

import following from '../../../../tests/contract/dialogues/following.json';
import freshness from '../../../../tests/contract/dialogues/freshness.json';
import leaving from '../../../../tests/contract/dialogues/leaving.json';
import patches from '../../../../tests/contract/dialogues/patches.json';
import refusals from '../../../../tests/contract/dialogues/refusals.json';
import resuming from '../../../../tests/contract/dialogues/resuming.json';
import rights from '../../../../tests/contract/dialogues/rights.json';
import sets from '../../../../tests/contract/dialogues/sets.json';
import { applyFrame, type AccountState } from '../account/account-state.js';
import { SetAssembly } from '../sets/set-state.js';
import { INVALID, UNKNOWN_TYPE, decode } from '../wire/decode.js';
import type { ClientFrame } from '../wire/frame.js';
import type { AccountId, Position, SetName } from '../wire/identity.js';
import { step } from './session.js';
import { NEW_SESSION, wakeAt, type Session, type SessionEffect, type SessionEvent } from './session-state.js';

type Id = string | number;
type Frame = { readonly type: string; readonly id?: Id; readonly [field: string]: unknown };
type Shown = {
  readonly account: AccountId;
  readonly position: Position;
  readonly amount: string | null;
  readonly transfers?: readonly string[];
  readonly newest?: readonly string[];
};
type ShownSet = {
  readonly channel: SetName;
  readonly epoch: string;
  readonly lanes: Readonly<Record<string, number>>;
  readonly members: Readonly<Record<string, string>>;
  readonly totals: readonly object[];
};
/** A step has one key. Keys that are missing here concern only the gateway. */
type Step = Partial<{
  client: Frame;
  server: Frame;
  receives: Frame;
  close: { code: number; reason?: object };
  time: number;
  reconnects: { after: number; within: number };
  switches_to: AccountId;
  rate: number | null;
  wakes: true;
  shows: Shown;
  rejected: { account: AccountId; code: string };
  shows_set: ShownSet;
  rejected_set: { channel: SetName; code: string };
  as_of: string | null;
  status: string;
  stops: string;
  reloads: string;
}>;
type Dialogue = {
  name: string;
  after?: string;
  follows?: AccountId[];
  sets?: SetName[];
  features?: string[];
  steps: Step[];
};

const FILES = [following, freshness, leaving, patches, refusals, resuming, rights, sets];
const DIALOGUES = FILES.flatMap((file) => file.dialogues as unknown as Dialogue[]);
const JITTER = 0.5; // dialogues assume the middle of every random range

class Player {
  #session: Session;
  readonly #states = new Map<AccountId, AccountState | null>();
  readonly #sets = new Map<SetName, SetAssembly>();
  #now = 0;
  #serial = 0;
  #sent: ClientFrame[] = [];
  #requestIds = new Map<Id, Id>(); // id in the dialogue → id that the page chose
  #connects = false;
  #renews = false;
  #reloads = false;

  constructor(accounts: readonly AccountId[], sets: readonly SetName[], features: readonly string[]) {
    this.#session = { ...NEW_SESSION, patches: features.includes('patches') };
    this.#follow(accounts);
    this.#dispatch({ kind: 'followSets', names: new Set(sets) });
  }

  play(step: Step): void {
    const [kind = 'end'] = Object.keys(step);
    const handle = this.#handlers[kind as keyof Step] as ((value: unknown) => void) | undefined;
    if (handle === undefined) return;
    if (kind !== 'client' && kind !== 'server') this.expectNothingSent();
    handle(Object.values(step)[0]);
  }

  expectNothingSent(): void {
    expect(this.#sent).toEqual([]);
  }

  readonly #handlers: { readonly [K in keyof Step]-?: (value: NonNullable<Step[K]>) => void } = {
    client: (frame) => {
      this.#expectSent(frame);
    },
    server: (frame) => {
      this.#receive(frame);
    },
    receives: (frame) => {
      this.#receive(frame);
    },
    close: ({ code, reason }) => {
      this.#dispatch({ kind: 'closed', code, reason: reason === undefined ? '' : JSON.stringify(reason) });
    },
    time: (seconds) => {
      this.#advance(seconds * 1_000);
    },
    reconnects: ({ after, within }) => {
      const early = Math.max(0, after * 1_000 - 1);
      this.#advance(early);
      expect(this.#connects).toBe(false);
      this.#advance(within * 1_000 - early);
      expect(this.#connects).toBe(true);
    },
    switches_to: (account) => {
      this.#follow([account]);
    },
    rate: (perSecond: number | null) => {
      this.#dispatch({ kind: perSecond === null ? 'woke' : 'hidden' });
    },
    wakes: () => {
      this.#dispatch({ kind: 'woke' });
    },
    shows: ({ account, position, amount, transfers, newest }) => {
      const state = this.#states.get(account);
      expect(this.#session.channels.get(account)?.position).toEqual(position);
      expect(state?.balance?.amount ?? null).toBe(amount);
      const ids = state?.rows.map(({ id }) => id);
      expect(ids?.slice(0, newest?.length)).toEqual(newest ?? transfers);
    },
    rejected: ({ account, code }) => {
      expect(this.#session.channels.get(account)).toMatchObject({
        position: null,
        phase: { kind: 'rejected', code },
      });
    },
    shows_set: ({ channel, members, ...position }) => {
      const state = this.#sets.get(channel)?.state;
      const amounts = Array.from(state?.members ?? [], ([account, { amount }]) => [account, amount]);
      expect(Object.fromEntries(amounts)).toEqual(members);
      expect(state).toMatchObject(position);
    },
    rejected_set: ({ channel, code }) => {
      expect(this.#session.sets.get(channel)?.phase).toMatchObject({ kind: 'rejected', code });
    },
    as_of: (asOf: string | null) => {
      const { channels, sets } = this.#session;
      for (const channel of [...channels.values(), ...sets.values()]) expect(channel.asOf).toBe(asOf);
    },
    status: (state) => {
      expect(this.#session.connection).toMatchObject({ kind: 'open', status: { state } });
    },
    stops: (reason) => {
      expect(this.#session.connection).toMatchObject({ kind: 'ended', reason });
      expect(this.#reloads).toBe(false);
    },
    reloads: (reason) => {
      expect(this.#session.connection).toMatchObject({ kind: 'ended', reason });
      expect(this.#reloads).toBe(true);
    },
  };

  #expectSent(frame: Frame): void {
    const token = frame['token'] as string;
    if (frame.type === 'auth') {
      expect(this.#connects).toBe(true);
      this.#connects = false;
      this.#dispatch({ kind: 'opened', token });
    }
    if (frame.type === 'refresh') {
      expect(this.#renews).toBe(true);
      this.#dispatch({ kind: 'renewed', token });
    }
    const sent = this.#sent.shift();
    const id = sent !== undefined && 'id' in sent ? { id: sent.id } : {};
    if (frame.id !== undefined && id.id !== undefined) this.#requestIds.set(frame.id, id.id);
    expect(sent).toEqual({ ...frame, ...id });
  }

  /** Follows exactly these accounts. */
  #follow(accounts: readonly AccountId[]): void {
    const removed = [...this.#session.channels.keys()].filter((account) => !accounts.includes(account));
    this.#dispatch({ kind: 'follow', added: new Map(accounts.map((account) => [account, null])), removed });
  }

  #receive(scripted: Frame): void {
    const id = scripted.id === undefined ? {} : { id: this.#requestIds.get(scripted.id) ?? scripted.id };
    const frame = decode(JSON.stringify({ ...scripted, ...id }));
    if (frame === INVALID) expect.fail(`invalid frame: ${JSON.stringify(scripted)}`);
    this.#dispatch({ kind: 'received', frame: frame === UNKNOWN_TYPE ? null : frame });
  }

  /** Advances the time, with a tick whenever the session needs one. */
  #advance(ms: number): void {
    const end = this.#now + ms;
    for (let due = wakeAt(this.#session); due !== null && due <= end; due = wakeAt(this.#session)) {
      this.#now = Math.max(this.#now, due);
      this.#dispatch({ kind: 'tick' });
    }
    this.#now = end;
  }

  #dispatch(event: SessionEvent): void {
    this.#serial += 1;
    const context = { now: this.#now, jitter: JITTER, serial: this.#serial };
    const [session, ...effects] = step(this.#session, event, context);
    this.#session = session;
    effects.forEach((effect) => {
      this.#perform(effect);
    });
  }

  #perform(effect: SessionEffect): void {
    if (effect.kind === 'send') this.#sent.push(effect.frame);
    if (effect.kind === 'apply') {
      const state = this.#states.get(effect.account) ?? null;
      this.#states.set(effect.account, applyFrame(state, effect.frame));
    }
    if (effect.kind === 'applySet') {
      const assembly = this.#sets.get(effect.name) ?? new SetAssembly();
      this.#sets.set(effect.name, assembly);
      assembly.apply(effect.frame);
    }
    this.#connects ||= effect.kind === 'connect';
    this.#renews ||= effect.kind === 'renew';
    this.#reloads ||= effect.kind === 'reload';
  }
}

it.each(DIALOGUES)('dialogue: $name', ({ after, follows, sets = [], features = [], steps }) => {
  const precedingSteps = DIALOGUES.find(({ name }) => name === after)?.steps ?? [];
  const player = new Player(follows ?? ['acc-1' as AccountId], sets, features);
  [...precedingSteps, ...steps].forEach((step) => {
    player.play(step);
  });
  player.expectNothingSent();
});
