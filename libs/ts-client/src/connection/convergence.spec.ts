/**
 * Property test: for any schedule of faults, the shown state equals a state of the projection.
 *
 * Every step checks that no row is invented or left out. After all faults have healed, the client must have
 * converged on the current state.
 */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { applyFrame, type AccountState } from '../account/account-state.js';
import { HEARTBEAT_MS, type FakeProjection } from './gateway.fake.js';
import { Simulation, forceFit, type Mutant } from './simulation.fake.js';

type Action = (simulation: Simulation, n: number) => void;

const ACTIONS = {
  'add a transfer': ({ projection }, n) => {
    projection.addTransfer((n % 201) - 100);
  },
  'add a balance': ({ projection }) => {
    projection.addBalance();
  },
  'lose commits': ({ projection }, n) => {
    projection.loseCommits(n % 4);
  },
  publish: ({ gateway }) => gateway?.publish(),
  'lose a delta': ({ gateway }) => gateway?.loseDelta(),
  'repeat a frame': ({ gateway }) => gateway?.repeatFrame(),
  'send an overlapping delta': ({ gateway }) => gateway?.sendOverlappingDelta(),
  heartbeat: ({ gateway }) => gateway?.heartbeat(),
  'accept the connection': (simulation) => {
    simulation.acceptConnection();
  },
  'refuse the connection': (simulation) => {
    simulation.refuseConnection();
  },
  serve: (simulation, n) => {
    simulation.serve((gateway, frame) => {
      gateway.answer(frame, n % 2 === 0);
    });
  },
  'serve with an error': (simulation) => {
    simulation.serve((gateway, frame) => {
      gateway.answerUnavailable(frame);
    });
  },
  deliver: (simulation) => {
    simulation.deliver();
  },
  'deliver all': (simulation) => {
    simulation.deliverAll();
  },
  'close the connection': (simulation, n) => {
    simulation.closeConnection([1006, 1012, 4000, 4013][n % 4] ?? 1006, '{"retry_after_ms":700}');
  },
  'half-open the connection': (simulation) => {
    simulation.halfOpen = true;
  },
  'hide the page': (simulation) => {
    simulation.dispatch({ kind: 'hidden' });
  },
  'wake the page': (simulation) => {
    simulation.dispatch({ kind: 'woke' });
  },
  'wait briefly': (simulation, n) => {
    simulation.advance(n % 1_500);
  },
  'wait long': (simulation, n) => {
    simulation.advance(n % (3 * HEARTBEAT_MS));
  },
  reconnect: (simulation, n) => {
    simulation.advance(20_000);
    simulation.acceptConnection();
    simulation.deliver();
    simulation.serve((gateway, frame) => {
      gateway.answer(frame, n % 2 === 0);
    });
    if (n % 3 > 0) simulation.deliver();
  },
  'read a page over REST': (simulation) => {
    simulation.readPage();
  },
} satisfies Record<string, Action>;

type ActionName = keyof typeof ACTIONS;
const names = Object.keys(ACTIONS) as ActionName[];
// Schedules with few faults reach more states than schedules with many, so progress weighs more.
const WEIGHTS: Partial<Record<ActionName, number>> = {
  'add a transfer': 6,
  'add a balance': 6,
  publish: 6,
  'accept the connection': 6,
  serve: 6,
  deliver: 6,
  'deliver all': 6,
  'lose a delta': 3,
  reconnect: 3,
};
const action = fc.record({
  name: fc.oneof(...names.map((name) => ({ arbitrary: fc.constant(name), weight: WEIGHTS[name] ?? 1 }))),
  n: fc.nat({ max: 100_000 }),
});
const schedule = fc.array(action, { maxLength: 120, size: 'max' });

/** Returns a new simulation. A connected client has received its welcome and a snapshot. */
function start(mutant: Mutant, connected: boolean): Simulation {
  const simulation = new Simulation(mutant);
  if (!connected) return simulation;
  for (let n = 0; n < 6; n += 1) simulation.projection.addTransfer(n);
  for (const name of ['accept the connection', 'deliver', 'serve', 'deliver all'] as const)
    ACTIONS[name](simulation, 0);
  return simulation;
}

/** Checks that the state equals the projection at the state's revision. */
function expectCorrect(state: AccountState, projection: FakeProjection): void {
  if (state.epoch !== projection.epoch) return; // the client does not know the new epoch yet
  expect(state.revision).toBeLessThanOrEqual(projection.revision);
  const bottom = state.older.kind === 'cursor' ? Number(state.older.cursor) : 0;
  const { from, to } = state.missing ?? { from: 0, to: 0 };
  const rows = projection
    .rows(state.revision)
    .filter(({ revision }) => revision >= bottom && !(revision > from && revision <= to));
  expect(state.rows).toEqual(rows);
  if (state.balance !== null) expect(projection.balance(state.balance.revision)).toEqual(state.balance);
}

function checkConvergence(mutant: Mutant): void {
  const property = fc.property(schedule, fc.boolean(), (actions, connected) => {
    const simulation = start(mutant, connected);
    for (const { name, n } of actions) {
      ACTIONS[name](simulation, n);
      if (simulation.state !== null) expectCorrect(simulation.state, simulation.projection);
    }
    simulation.heal();
    expect(simulation.channel?.phase).toEqual({ kind: 'subscribed' });
    expect(simulation.state?.revision).toBe(simulation.projection.revision);
    expect(simulation.state?.balance).toEqual(simulation.projection.balance());
    expect(simulation.state?.rows).toEqual(simulation.projection.rows());
  });
  fc.assert(property, { numRuns: 400 });
}

describe('convergence', { timeout: 60_000 }, () => {
  it('holds for the client', () => {
    checkConvergence({});
  });

  it('schedules reach gaps, pages, long absences and new epochs', () => {
    const counts = { gaps: 0, pages: 0, tooFar: 0, epochs: 0 };
    const countFrame: Mutant['alterFrame'] = (frame) => {
      if (frame.type === 'delta' && frame.more === true) counts.pages += 1;
      if (frame.type === 'snapshot' && frame.reason === 'too_far') counts.tooFar += 1;
      if (frame.type === 'snapshot' && frame.reason === 'epoch') counts.epochs += 1;
      return frame;
    };
    for (const actions of fc.sample(schedule, { numRuns: 300, seed: 1 })) {
      const simulation = start({ alterFrame: countFrame }, true);
      for (const { name, n } of actions) ACTIONS[name](simulation, n);
      counts.gaps += simulation.channel?.gaps ?? 0;
    }
    for (const [name, count] of Object.entries(counts)) expect(count, name).toBeGreaterThan(20);
  });

  it('fails for a client that does not check whether a delta fits', () => {
    expect(() => {
      checkConvergence({ alterFrame: forceFit });
    }).toThrow(/Property failed/);
  });

  it('fails for a client that shows a repeated delta twice', () => {
    const applyTwice: typeof applyFrame = (state, frame) => {
      const next = applyFrame(state, frame);
      return next === null || frame.type !== 'delta'
        ? next
        : { ...next, rows: [...frame.transfers, ...next.rows] };
    };
    expect(() => {
      checkConvergence({ applyFrame: applyTwice });
    }).toThrow(/Property failed/);
  });

  it('fails for a client that keeps its rows in a new epoch', () => {
    const keepRows: typeof applyFrame = (state, frame) => {
      const next = applyFrame(state, frame);
      if (state === null || next === null || frame.type !== 'snapshot') return next;
      const ids = new Set(next.rows.map((row) => row.id));
      return { ...next, rows: [...next.rows, ...state.rows.filter((row) => !ids.has(row.id))] };
    };
    expect(() => {
      checkConvergence({ applyFrame: keepRows });
    }).toThrow(/Property failed/);
  });
});
