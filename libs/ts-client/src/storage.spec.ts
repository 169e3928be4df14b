import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { applyFrame, type AccountState } from './account/account-state.js';
import type { StoredState } from './account/stored-state.js';
import { FakeProjection, rev } from './connection/gateway.fake.js';
import { StateWriter, type StateStorage } from './storage.js';

function stateAt(revision: number): AccountState {
  const { epoch } = new FakeProjection();
  const state = applyFrame(null, {
    type: 'snapshot',
    channel: 'account:acc-1',
    epoch,
    revision: rev(revision),
    reason: 'subscribed',
    balance: null,
    transfers: [],
    cursor: null,
    as_of: null,
  });
  return state ?? expect.fail('a snapshot gives a state');
}

/** A storage in memory, whose operations fail while `fails` is true and never end while `hangs` is true. */
class MemoryStorage implements StateStorage {
  readonly states = new Map<string, StoredState>();
  writes = 0;
  fails = false;
  hangs = false;

  async read(account: string): Promise<unknown> {
    await this.#ready();
    return this.states.get(account);
  }

  async write(states: ReadonlyMap<string, StoredState | null>): Promise<void> {
    await this.#ready();
    this.writes += 1;
    for (const [account, state] of states) {
      if (state === null) this.states.delete(account);
      else this.states.set(account, state);
    }
  }

  async clear(): Promise<void> {
    await this.#ready();
    this.states.clear();
  }

  #ready(): Promise<void> {
    if (this.fails) return Promise.reject(new Error('the storage is full'));
    return this.hangs ? new Promise(() => undefined) : Promise.resolve();
  }
}

let storage: MemoryStorage;
let writer: StateWriter;
beforeEach(() => {
  vi.useFakeTimers();
  storage = new MemoryStorage();
  writer = new StateWriter(storage);
});
afterEach(() => {
  vi.useRealTimers();
});

describe('a writer of states', () => {
  it('writes the latest state of each account within 5 s, in one write', async () => {
    for (let revision = 1; revision <= 1_000; revision += 1) writer.change('acc-1', stateAt(revision));
    writer.change('acc-2', stateAt(7));
    expect(storage.writes).toBe(0);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(storage.writes).toBe(1);
    expect(storage.states.get('acc-1')?.revision).toBe(1_000);
    expect(storage.states.get('acc-2')?.revision).toBe(7);
  });

  it('restores a state that is not written yet', async () => {
    writer.change('acc-1', stateAt(3));
    expect(await writer.restore('acc-1')).toEqual(stateAt(3));
  });

  it('restores nothing if the storage fails or hangs', async () => {
    storage.fails = true;
    expect(await writer.restore('acc-1')).toBeNull();
    [storage.fails, storage.hangs] = [false, true];
    const restored = writer.restore('acc-1');
    await vi.advanceTimersByTimeAsync(2_000);
    expect(await restored).toBeNull();
  });

  it('goes on after a write that hangs', async () => {
    storage.hangs = true;
    writer.change('acc-1', stateAt(1));
    const flushed = writer.flush();
    await vi.advanceTimersByTimeAsync(2_000);
    await flushed;
    storage.hangs = false;
    writer.change('acc-1', stateAt(2));
    await writer.flush();
    expect(storage.states.get('acc-1')?.revision).toBe(2);
  });

  it('repeats a removal that failed, unless a later state replaced it', async () => {
    writer.change('acc-1', stateAt(1));
    writer.change('acc-2', stateAt(1));
    await writer.flush();
    storage.fails = true;
    writer.change('acc-1', null);
    writer.change('acc-2', null);
    await writer.flush();
    storage.fails = false;
    writer.change('acc-2', stateAt(2));
    await writer.flush();
    expect([...storage.states.keys()]).toEqual(['acc-2']);
  });

  it('clears the storage, also of accounts that did not change', async () => {
    writer.change('acc-1', stateAt(1));
    await writer.flush();
    writer.change('acc-2', stateAt(1));
    writer.clear();
    expect(await writer.restore('acc-1')).toBeNull();
    await writer.flush();
    expect(storage.states.size).toBe(0);
  });
});
