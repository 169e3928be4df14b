/**
 * The page's machine in every dialogue that the gateway and the Python client are held to as well
 * (tests/contract/dialogues/README.md). It follows one account, the first; of the others it says and sees nothing.
 */

import { expect, it } from 'vitest';

import following from '../../../../../tests/contract/dialogues/following.json';
import freshness from '../../../../../tests/contract/dialogues/freshness.json';
import leaving from '../../../../../tests/contract/dialogues/leaving.json';
import refusals from '../../../../../tests/contract/dialogues/refusals.json';
import resuming from '../../../../../tests/contract/dialogues/resuming.json';
import rights from '../../../../../tests/contract/dialogues/rights.json';
import { show, type Ledger } from '../account/ledger';
import { BROKEN, UNKNOWN, decode } from '../wire/decode';
import type { ClientFrame } from '../wire/frame';
import { channelName, type AccountId, type Position } from '../wire/identity';
import { step } from './machine';
import { START, wakeAt, type Effect, type Event, type Machine } from './state';

type Id = string | number;
type Frame = { readonly type: string; readonly id?: Id; readonly [field: string]: unknown };
type Asked = { readonly channel: string };
type Shown = {
  readonly account: string;
  readonly position: Position;
  readonly amount: string | null;
  readonly transfers?: readonly string[];
  readonly newest?: readonly string[];
};
/** Of one key; those that are not here are the gateway's alone. */
type Step = Partial<{
  client: Frame;
  server: Frame;
  hears: Frame;
  close: { code: number; reason?: object };
  time: number;
  comes_back: { after: number; within: number };
  turns_to: AccountId;
  wants: number | null;
  wakes: true;
  shows: Shown;
  refused: { account: string; code: string };
  as_of: string | null;
  status: string;
  stays_away: string;
  reloads: string;
}>;
type Dialogue = { name: string; after?: string; follows?: AccountId[]; steps: Step[] };

const FILES = [following, freshness, leaving, refusals, resuming, rights];
const DIALOGUES = FILES.flatMap((file) => file.dialogues as unknown as Dialogue[]);
const MIDDLE = 0.5; // of all chances

class Player {
  #machine: Machine = START;
  #ledger: Ledger | null = null;
  #now = 0;
  #serial = 0;
  #said: ClientFrame[] = [];
  #ids = new Map<Id, Id>(); // its own, of the requests in the script
  #dials = false;
  #renews = false;
  #reloads = false;

  constructor(account: AccountId) {
    this.#dispatch({ kind: 'follow', account });
  }

  play(step: Step): void {
    const [kind = 'end'] = Object.keys(step);
    const act = this.#acts[kind as keyof Step] as ((what: unknown) => void) | undefined;
    if (act === undefined) return;
    if (kind !== 'client' && kind !== 'server') this.end();
    act(Object.values(step)[0]);
  }

  /** It said no more than is written. */
  end(): void {
    expect(this.#said).toEqual([]);
  }

  readonly #acts: { readonly [K in keyof Step]-?: (what: NonNullable<Step[K]>) => void } = {
    client: (frame) => {
      this.#expect(frame);
    },
    server: (frame) => {
      this.#hear(frame);
    },
    hears: (frame) => {
      this.#hear(frame);
    },
    close: ({ code, reason }) => {
      this.#dispatch({ kind: 'closed', code, reason: reason === undefined ? '' : JSON.stringify(reason) });
    },
    time: (seconds) => {
      this.#pass(seconds * 1_000);
    },
    comes_back: ({ after, within }) => {
      const early = Math.max(0, after * 1_000 - 1);
      this.#pass(early);
      expect(this.#dials).toBe(false);
      this.#pass(within * 1_000 - early);
      expect(this.#dials).toBe(true);
    },
    turns_to: (account) => {
      this.#dispatch({ kind: 'follow', account });
    },
    wants: (perSecond: number | null) => {
      this.#dispatch({ kind: perSecond === null ? 'woke' : 'hid' });
    },
    wakes: () => {
      this.#dispatch({ kind: 'woke' });
    },
    shows: ({ account, position, amount, transfers, newest }) => {
      if (!this.#follows(`account:${account}`)) return;
      expect(this.#machine.channel?.position).toEqual(position);
      expect(this.#ledger?.balance?.amount ?? null).toBe(amount);
      const rows = this.#ledger?.rows.map(({ id }) => id);
      expect(rows?.slice(0, newest?.length)).toEqual(newest ?? transfers);
    },
    refused: ({ account, code }) => {
      if (!this.#follows(`account:${account}`)) return;
      expect(this.#machine.channel).toMatchObject({ position: null, phase: { kind: 'refused', code } });
    },
    as_of: (asOf: string | null) => {
      expect(this.#machine.channel?.asOf).toBe(asOf);
    },
    status: (state) => {
      expect(this.#machine.link).toMatchObject({ kind: 'open', status: { state } });
    },
    stays_away: (why) => {
      expect(this.#machine.link).toMatchObject({ kind: 'ended', why });
      expect(this.#reloads).toBe(false);
    },
    reloads: (why) => {
      expect(this.#machine.link).toMatchObject({ kind: 'ended', why });
      expect(this.#reloads).toBe(true);
    },
  };

  #expect(frame: Frame): void {
    const token = frame['token'] as string;
    if (frame.type === 'auth') {
      expect(this.#dials).toBe(true);
      this.#dials = false;
      this.#dispatch({ kind: 'opened', token });
    }
    if (frame.type === 'refresh') {
      expect(this.#renews).toBe(true);
      this.#dispatch({ kind: 'renewed', token });
    }
    const wanted = this.#mine(frame);
    const said = this.#said.shift();
    const id = said !== undefined && 'id' in said ? { id: said.id } : {};
    if (frame.id !== undefined && id.id !== undefined) this.#ids.set(frame.id, id.id);
    expect(said).toEqual({ ...wanted, ...id });
  }

  /** Of what a client asks for: what is asked for the one account. */
  #mine(frame: Frame): Frame {
    if (frame.type !== 'subscribe') return frame;
    const channels = (frame['channels'] as Asked[]).filter(({ channel }) => this.#follows(channel));
    return { ...frame, channels };
  }

  #follows(channel: string): boolean {
    const { channel: ours } = this.#machine;
    return ours !== null && channel === channelName(ours.account);
  }

  #hear(told: Frame): void {
    const id = told.id === undefined ? {} : { id: this.#ids.get(told.id) ?? told.id };
    const frame = decode(JSON.stringify({ ...told, ...id }));
    if (frame === BROKEN) expect.fail(`no frame: ${JSON.stringify(told)}`);
    this.#dispatch({ kind: 'heard', frame: frame === UNKNOWN ? null : frame });
  }

  /** Time goes on; the machine wakes whenever it asked to. */
  #pass(ms: number): void {
    const end = this.#now + ms;
    for (let due = wakeAt(this.#machine); due !== null && due <= end; due = wakeAt(this.#machine)) {
      this.#now = Math.max(this.#now, due);
      this.#dispatch({ kind: 'tick' });
    }
    this.#now = end;
  }

  #dispatch(event: Event): void {
    this.#serial += 1;
    const at = { now: this.#now, chance: MIDDLE, serial: this.#serial };
    const [machine, ...effects] = step(this.#machine, event, at);
    this.#machine = machine;
    effects.forEach((effect) => {
      this.#perform(effect);
    });
  }

  #perform(effect: Effect): void {
    if (effect.kind === 'send') this.#said.push(effect.frame);
    if (effect.kind === 'show') this.#ledger = show(this.#ledger, effect.frame);
    this.#dials ||= effect.kind === 'open';
    this.#renews ||= effect.kind === 'renew';
    this.#reloads ||= effect.kind === 'reload';
  }
}

it.each(DIALOGUES)('$name', ({ after, follows = ['acc-1' as AccountId], steps }) => {
  const first = DIALOGUES.find(({ name }) => name === after)?.steps ?? [];
  const player = new Player(follows[0] ?? expect.fail('nothing is followed'));
  [...first, ...steps].forEach((step) => {
    player.play(step);
  });
  player.end();
});
