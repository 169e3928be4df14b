/** The timeline of a connection, as sentences. Similar things that follow each other share a sentence. */

import type { Happening, LogEntry } from '../connection/connection-log';
import { trust } from './wording';

export type Sentence = {
  /** Time by the clock of this computer, in milliseconds. */
  readonly time: number;
  /** Name for styles and tests. */
  readonly kind: Happening['kind'] | 'attempt';
  readonly text: string;
};

type Group = { readonly entries: LogEntry[]; readonly key: string };
type Context = { gateway: string | null; lostAt: number | null };

/** Returns the sentences for a log, the oldest first. */
export function timeline(log: readonly LogEntry[]): Sentence[] {
  const context: Context = { gateway: null, lostAt: null };
  return groups(log).map(({ entries, key }) => {
    const [first] = entries as [LogEntry];
    const text = describe(first, entries, context);
    return { time: first.time, kind: key === 'attempt' ? 'attempt' : first.happening.kind, text };
  });
}

/** Groups the entries that share a sentence: the same thing for several accounts, or several attempts. */
function groups(log: readonly LogEntry[]): Group[] {
  const result: Group[] = [];
  let isLost = false;
  for (const entry of log) {
    const { kind } = entry.happening;
    const key =
      entry.happening.kind === 'disconnected' && isLost && entry.happening.retryInMs !== null
        ? 'attempt'
        : groupKey(entry.happening);
    if (entry.happening.kind === 'disconnected') isLost = entry.happening.retryInMs !== null;
    if (kind === 'connected') isLost = false;
    const last = result.at(-1);
    if (last?.key === key && key !== 'action') last.entries.push(entry);
    else result.push({ entries: [entry], key });
  }
  return result;
}

function groupKey(happening: Happening): string {
  if (happening.kind === 'snapshot') return `snapshot ${happening.reason}`;
  if (happening.kind === 'compared') return `compared ${happening.result}`;
  return happening.kind;
}

function describe({ at, happening }: LogEntry, entries: readonly LogEntry[], context: Context): string {
  const text = trust;
  switch (happening.kind) {
    case 'connected': {
      const lostAt = context.gateway === null ? null : context.lostAt;
      Object.assign(context, { gateway: happening.gateway, lostAt: null });
      return lostAt === null
        ? text.connected(happening.gateway)
        : text.reconnected(happening.gateway, ((at - lostAt) / 1_000).toFixed(1));
    }
    case 'disconnected': {
      const { gateway, lostAt } = context;
      if (lostAt !== null && happening.retryInMs !== null) return text.attempts(entries.length);
      context.lostAt = happening.retryInMs === null ? null : at;
      if (gateway === null) return text.noGateway(happening.reason);
      return (happening.retryInMs === null ? text.ended : text.lost)(gateway, happening.reason);
    }
    case 'resumed':
      return describeResumed(entries);
    case 'snapshot':
      return text.loaded(accountsOf(entries), text.snapshotReasons[happening.reason]);
    case 'gap':
      return text.gap(accountsOf(entries));
    case 'repaired':
      return text.repaired(accountsOf(entries));
    case 'action':
      return happening.text;
    case 'compared':
      return describeComparison(happening, entries);
  }
}

function describeResumed(entries: readonly LogEntry[]): string {
  const text = trust;
  const resumed = entries.map(({ happening }) => happening).filter((event) => event.kind === 'resumed');
  const count = resumed.reduce((sum, { from, to }) => sum + to - from, 0);
  const replayed = count === 0 ? text.nothingMissed : text.replayed(count);
  const [first] = resumed;
  return resumed.length === 1 && first !== undefined
    ? text.resumed(first.account, first.from, replayed)
    : text.resumedMany(resumed.length, replayed);
}

function describeComparison(
  { account, result, revision }: Extract<Happening, { kind: 'compared' }>,
  entries: readonly LogEntry[],
): string {
  const text = trust;
  if (result === 'equal')
    return entries.length === 1 ? text.equal(account, revision) : text.equalMany(entries.length);
  return (result === 'different' ? text.different : text.notCompared)(accountsOf(entries));
}

/** Returns the account that the entries are about, or the number of accounts. */
function accountsOf(entries: readonly LogEntry[]): string {
  const accounts = new Set(entries.map(({ happening }) => ('account' in happening ? happening.account : '')));
  const [first = ''] = accounts;
  return accounts.size === 1 ? first : trust.accounts(accounts.size);
}
