/**
 * The law: whatever is interleaved, lost, repeated or restarted, snapshot + deltas = the state now.
 *
 * Checked after every step (nothing invented, nothing left out) and at the end, when all faults have healed.
 */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { Ledger } from '../account/ledger';
import { show } from '../account/ledger';
import { HEARTBEAT_MS, type Truth } from './gateway.fake';
import { World, forced, type Mutant } from './world.fake';

type Act = (world: World, n: number) => void;

const ACTS = {
  transfer: ({ truth }, n) => {
    truth.transfer((n % 201) - 100);
  },
  settle: ({ truth }) => {
    truth.settle();
  },
  'lose commits': ({ truth }, n) => {
    truth.forget(n % 4);
  },
  publish: ({ gateway }) => gateway?.publish(),
  lose: ({ gateway }) => gateway?.lose(),
  repeat: ({ gateway }) => gateway?.repeat(),
  overlap: ({ gateway }) => gateway?.overlap(),
  heartbeat: ({ gateway }) => gateway?.heartbeat(),
  accept: (world) => {
    world.accept();
  },
  refuse: (world) => {
    world.refuse();
  },
  serve: (world, n) => {
    world.serve((gateway, frame) => {
      gateway.answer(frame, n % 2 === 0);
    });
  },
  'serve with an error': (world) => {
    world.serve((gateway, frame) => {
      gateway.refuse(frame);
    });
  },
  deliver: (world) => {
    world.deliver();
  },
  'deliver all': (world) => {
    while ((world.gateway?.outbound.length ?? 0) > 0) world.deliver();
  },
  cut: (world, n) => {
    world.cut([1006, 1012, 4000, 4013][n % 4] ?? 1006, '{"retry_after_ms":700}');
  },
  'half open': (world) => {
    world.silent = true;
  },
  hide: (world) => {
    world.dispatch({ kind: 'hid' });
  },
  wake: (world) => {
    world.dispatch({ kind: 'woke' });
  },
  'a moment': (world, n) => {
    world.pass(n % 1_500);
  },
  'a long time': (world, n) => {
    world.pass(n % (3 * HEARTBEAT_MS));
  },
  'come back': (world, n) => {
    world.pass(20_000);
    world.accept();
    world.deliver();
    world.serve((gateway, frame) => {
      gateway.answer(frame, n % 2 === 0);
    });
    if (n % 3 > 0) world.deliver();
  },
  'read over REST': (world) => {
    world.read();
  },
} satisfies Record<string, Act>;

const names = Object.keys(ACTS) as (keyof typeof ACTS)[];
// A run in which little goes wrong reaches further than one in which everything does.
const weight = (name: keyof typeof ACTS) =>
  /^(transfer|settle|publish|accept|serve|deliver|deliver all)$/.test(name)
    ? 6
    : /^(lose|come back)$/.test(name)
      ? 3
      : 1;
const act = fc.record({
  name: fc.oneof(...names.map((name) => ({ arbitrary: fc.constant(name), weight: weight(name) }))),
  n: fc.nat({ max: 100_000 }),
});
const schedule = fc.array(act, { maxLength: 120, size: 'max' });

/** Many runs begin where most of a connection's life is spent: welcomed, answered, with something to show. */
function begin(mutant: Mutant, connected: boolean): World {
  const world = new World(mutant);
  if (!connected) return world;
  for (let n = 0; n < 6; n += 1) world.truth.transfer(n);
  for (const name of ['accept', 'deliver', 'serve', 'deliver all'] as const) ACTS[name](world, 0);
  return world;
}

/** What is shown at its revision is what the truth was then: nothing invented, nothing left out. */
function expectTrue(ledger: Ledger, truth: Truth): void {
  if (ledger.epoch !== truth.epoch) return; // not told yet
  expect(ledger.revision).toBeLessThanOrEqual(truth.revision);
  const bottom = ledger.older.kind === 'cursor' ? Number(ledger.older.cursor) : 0;
  const { from, to } = ledger.missing ?? { from: 0, to: 0 };
  const rows = truth
    .rows(ledger.revision)
    .filter(({ revision }) => revision >= bottom && !(revision > from && revision <= to));
  expect(ledger.rows).toEqual(rows);
  if (ledger.balance !== null) expect(truth.balance(ledger.balance.revision)).toEqual(ledger.balance);
}

function lawHolds(mutant: Mutant): void {
  const law = fc.property(schedule, fc.boolean(), (acts, connected) => {
    const world = begin(mutant, connected);
    for (const { name, n } of acts) {
      ACTS[name](world, n);
      if (world.ledger !== null) expectTrue(world.ledger, world.truth);
    }
    world.heal();
    expect(world.machine.channel?.phase).toEqual({ kind: 'following' });
    expect(world.ledger?.revision).toBe(world.truth.revision);
    expect(world.ledger?.balance).toEqual(world.truth.balance());
    expect(world.ledger?.rows).toEqual(world.truth.rows());
  });
  fc.assert(law, { numRuns: 400 });
}

describe('the law', { timeout: 60_000 }, () => {
  it('holds', () => {
    lawHolds({});
  });

  it('reaches what it is about', () => {
    const seen = { gaps: 0, pages: 0, tooFar: 0, epochs: 0 };
    const hear: Mutant['hear'] = (frame) => {
      if (frame.type === 'delta' && frame.more === true) seen.pages += 1;
      if (frame.type === 'snapshot' && frame.reason === 'too_far') seen.tooFar += 1;
      if (frame.type === 'snapshot' && frame.reason === 'epoch') seen.epochs += 1;
      return frame;
    };
    for (const acts of fc.sample(schedule, { numRuns: 300, seed: 1 })) {
      const world = begin({ hear }, true);
      for (const { name, n } of acts) ACTS[name](world, n);
      seen.gaps += world.machine.channel?.gaps ?? 0;
    }
    for (const [what, count] of Object.entries(seen)) expect(count, what).toBeGreaterThan(20);
  });

  it('fails for a client that does not check the chain', () => {
    expect(() => {
      lawHolds({ hear: forced });
    }).toThrow(/Property failed/);
  });

  it('fails for a client that shows a repeated delta again', () => {
    const again: typeof show = (ledger, frame) => {
      const next = show(ledger, frame);
      return next === null || frame.type !== 'delta'
        ? next
        : { ...next, rows: [...frame.transfers, ...next.rows] };
    };
    expect(() => {
      lawHolds({ show: again });
    }).toThrow(/Property failed/);
  });

  it('fails for a client that keeps its rows across epochs', () => {
    const kept: typeof show = (ledger, frame) => {
      const next = show(ledger, frame);
      if (ledger === null || next === null || frame.type !== 'snapshot') return next;
      const ids = new Set(next.rows.map((row) => row.id));
      return { ...next, rows: [...next.rows, ...ledger.rows.filter((row) => !ids.has(row.id))] };
    };
    expect(() => {
      lawHolds({ show: kept });
    }).toThrow(/Property failed/);
  });
});
