/**
 * Every text of the page, in one place. A translation is another object of type `Wording`.
 *
 * Dates, times and amounts are not here: `Intl` formats them in the reader's language. Reasons of closed
 * connections come from `@livebalance/client`.
 */

const ACCOUNT_ID_RULE = 'An account id consists of 1 to 64 letters, digits, dots, dashes or underscores.';

const english = {
  product: 'Livebalance',
  frame: {
    allAccounts: 'Livebalance: all accounts',
    demo: 'Demo: all accounts are public',
    demoDetail: 'Anyone who opens this page can see every account',
    theme: 'Theme',
    themes: { system: 'System', light: 'Light', dark: 'Dark' },
    keys: 'Keyboard shortcuts',
    notLoaded: 'A part of this page could not be loaded.',
    reload: 'Reload the page',
  },
  // The list of keys.
  keys: {
    title: 'Keyboard shortcuts',
    list: [
      { key: '/', does: 'Go to the search field' },
      { key: '↑ ↓', does: 'Move between suggestions, or between watched accounts' },
      { key: 'Enter', does: 'Show the account' },
      { key: 'Delete', does: 'Stop watching the account' },
      { key: 't', does: 'Read the totals of the watchlist aloud, with a screen reader' },
      { key: '?', does: 'Show this list' },
    ],
    singleKeys: 'Use the shortcuts / , t and ?',
    close: 'Close',
  },
  search: {
    label: 'Account id',
    show: 'Show',
    watch: 'Watch',
    recent: 'Recent',
    suggestions: 'Accounts',
    invalid: ACCOUNT_ID_RULE,
    ignored: (count: number) =>
      count === 1
        ? '1 entry is not watched: it is not an account id, or the list is full.'
        : `${count} entries are not watched: they are not account ids, or the list is full.`,
  },
  overview: {
    title: 'Live account balances',
    introduction:
      'Choose an account to see its balance and transfers live. Every transfer appears exactly once, in order, and as it was recorded.',
    accounts: 'Accounts',
    loading: 'Loading accounts…',
    unavailable:
      'The list of accounts is unavailable: reconnecting. This page tries again every few seconds.',
    none: 'There are no accounts yet.',
    more: 'There are more accounts. To find an account, type the start of its id.',
    noBalance: 'No balance yet',
    disputed: 'Disputed',
    watchAccount: (id: string) => `Watch ${id}`,
  },
  // The watchlist.
  watchlist: {
    title: 'Watchlist',
    total: (count: number) => (count === 1 ? 'Balance of 1 account' : `Total of ${count} accounts`),
    stale: (count: number) => (count === 1 ? '1 balance is not live' : `${count} balances are not live`),
    missing: (count: number) => (count === 1 ? 'without 1 account' : `without ${count} accounts`),
    disputedIn: (count: number) => (count === 1 ? '1 balance is disputed' : `${count} balances are disputed`),
    ignored: (count: number) =>
      count === 1
        ? '1 entry of the address is ignored: it is not an account id, or the list is full.'
        : `${count} entries of the address are ignored: they are not account ids, or the list is full.`,
    change: 'Change since you opened the list: ',
    noBalance: '—',
    unknown: 'There is no such account',
    disputed: 'Disputed',
    remove: (id: string) => `Stop watching ${id}`,
    // For screen readers.
    spokenStates: (count: number, notLive: number, disputed: number) =>
      (count === 0
        ? 'No account is watched.'
        : notLive === 0
          ? `All ${count} watched accounts are live.`
          : `${notLive} of ${count} watched accounts are not live.`) +
      (disputed === 0 ? '' : ` Disputed: ${disputed}.`),
    spokenTotal: (amount: string, isLive: boolean) =>
      `Total ${amount}${isLive ? '' : ', not live or incomplete'}.`,
    nothingToTotal: 'No balance is watched.',
  },
  freshness: {
    upToDate: 'Up to date as of',
    upToDateAsOf: (time: string) => `Up to date as of ${time}`,
    isUpToDate: 'Up to date',
    unknown: 'Unknown',
    unconfirmed: 'Not confirmed yet',
    delayed: 'Delayed',
    delayedReason: (reason: string) => `Delayed: ${reason}`,
    lastConfirmed: (age: string) => `Delayed, last confirmed ${age}`,
    notConfirmedRecently: 'Delayed: the gateway has not confirmed the data recently',
    justNow: 'just now',
    secondsAgo: (count: number) => `${count} s ago`,
    minutesAgo: (count: number) => `${count} min ago`,
    hoursAgo: (count: number) => `${count} h ago`,
  },
  connection: {
    label: 'Connection: ',
    none: 'Not connected',
    connecting: 'Connecting',
    connected: 'Connected',
    live: 'Live',
    catchingUp: 'Catching up',
    reconnecting: 'Reconnecting',
    reconnectingIn: (seconds: number) => `Reconnecting in ${seconds} s`,
    reconnectingBecause: (reason: string) => `Reconnecting: ${reason}`,
    disconnected: (reason: string) => `Disconnected: ${reason}`,
    reconnectNow: 'Reconnect now',
    rejections: {
      gone: 'This account was erased',
      no_access: 'You have no access to this account',
      bad_account: 'This account id is invalid',
      revoked: 'Your access to this account was revoked',
    } as Readonly<Record<string, string>>,
  },
  account: {
    invalidId: (id: string) => `“${id}” is not a valid account id.`,
    invalidIdRule: ACCOUNT_ID_RULE,
    unknownTitle: (id: string) => `There is no account “${id}”.`,
    unknown: 'If an account with this id is opened, its balance and transfers appear here.',
    balance: 'Balance: ',
    latestTransfer: 'Latest transfer: ',
    noBalance: 'No balance yet',
    disputedSince: (time: string) => `Disputed since ${time}.`,
    disputed:
      'The records of this account contradict each other. The page shows the values that were recorded first.',
    servedBy: 'Served by',
    revision: 'Revision',
    epoch: 'Epoch',
    check: 'Balance check',
    reconciled: 'Reconciled',
    checkDisputed: 'Disputed',
    difference: 'difference',
    contradiction: 'contradicting records',
    notChecked: 'Not checked yet',
    pendingTitle: 'Pending',
    notInBalance: 'listed, but not in the balance yet',
    notInList: 'The balance includes a transfer that is not listed yet.',
    gapsRepaired: (count: number) => (count === 1 ? '1 gap repaired' : `${count} gaps repaired`),
    nothing: '—',
  },
  // The list, chart, filters and drawer of an account
  transfers: {
    title: 'Transfers',
    all: (count: number) => `all ${count}`,
    newest: (count: number) => `newest ${count}`,
    showNew: (count: number) => `${count} new`,
    loading: 'Loading transfers…',
    loadingMissed: 'Loading transfers that were missed during an interruption…',
    tryAgain: 'Try again',
    none: 'This account has no transfers yet. New transfers appear here automatically.',
    end: 'There are no older transfers.',
    showOlder: 'Show older transfers',
    loadingOlder: 'Loading…',
    olderUnavailable: 'The transfers are unavailable. Try again later.',
    noMatch: 'No transfer passes the filter.',
    endOfMatches: 'No older transfer passes the filter.',
    columns: { time: 'Time', id: 'Transfer', amount: 'Amount', balance: 'Balance after' },
  },
  chart: {
    label: 'Balance over time',
    sumLabel: 'Sum of the transfers over time',
    empty: 'There are no transfers in this period.',
    balanceAt: 'Balance',
    sumAt: 'Sum of the transfers',
    change: 'Change',
    highest: 'Highest',
    lowest: 'Lowest',
    selection: 'The line is drawn through a selection of the transfers.',
    incomplete: 'The older transfers are unavailable: the line begins with those of the list.',
    range: 'Period of the chart',
    ranges: {
      '1h': '1 hour',
      '1d': '1 day',
      '7d': '7 days',
      '30d': '30 days',
      '1y': '1 year',
      all: 'All',
    },
    valueAt: (amount: string, time: string) => `${amount}, ${time}`,
  },
  filter: {
    title: 'More filters',
    direction: 'Direction',
    directions: { all: 'All', in: 'In', out: 'Out' },
    amounts: { min: 'Amount from', max: 'Amount to' },
    id: 'Part of the id',
    dates: { from: 'First day', to: 'Last day' },
    jump: 'Jump to a date',
    hint: 'Amounts count without their signs. Days are those on which Kafka recorded the transfers.',
    clear: 'Clear all filters',
    invalidAmount: 'An amount consists of digits with at most one decimal point.',
    invalidId: 'An id consists of 1 to 64 letters, digits, dots, dashes or underscores.',
    download: 'Download CSV',
    downloading: 'Downloading…',
    downloadFailed: 'The download failed. Try again later.',
  },
  drawer: {
    title: 'Transfer',
    close: 'Close',
    loading: 'Loading…',
    unavailable: 'The record is unavailable.',
    tryAgain: 'Try again',
    forbidden: 'This transfer cannot be shown: the account was erased, or you have no access to it.',
    gone: (id: string) => `The account has no transfer “${id}”. If there was one, it was erased.`,
    id: 'Transfer id',
    before: 'Balance before',
    after: 'Balance after',
    occurredAt: 'Time',
    occurredBy: 'by the clock of its producer',
    recordedAt: 'Recorded',
    recordedBy: 'by the clock of Kafka',
    topic: 'Topic',
    partition: 'Partition',
    offset: 'Offset',
    source: 'Topic, partition and offset',
    revision: 'Revision',
    sql: 'The same row in SQL',
    copy: 'Copy',
    copyOf: (name: string) => `Copy: ${name}`,
    copied: 'Copied',
    copyFailed: 'The browser does not let this page copy. Select the text instead.',
  },
  // The trust panel
  trust: {
    title: 'Connection',
    notConnected: 'no live connection',
    toScreen: (p50: string) => `${p50} to the screen`,
    gateway: 'Gateway',
    position: 'Position',
    positions: (count: number) => `${count} accounts`,
    delay: 'Kafka to screen',
    percentiles: (p50: string, p95: string, count: number) => `p50 ${p50}, p95 ${p95} (last ${count})`,
    delayUnknown: 'No change arrived yet',
    clocksDiffer: 'Unknown: the clocks of the gateway and of Kafka differ',
    delayNote:
      'Kafka to screen: from the time that Kafka stored with a change until this browser has drawn it, by the clock of the gateway. Clocks differ, so this is an estimate.',
    milliseconds: (ms: number) => (ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`),
    snapshots: 'Snapshots',
    snapshotReasons: {
      subscribed: 'first load',
      too_far: 'missed too much',
      ahead: 'ahead of the database',
      epoch: 'database restored',
    },
    resumes: 'Resumes',
    replayed: (count: number) => (count === 1 ? '1 revision replayed' : `${count} revisions replayed`),
    gaps: 'Gaps repaired',
    ofGaps: (repaired: number, gaps: number) => (gaps === 0 ? 'none occurred' : `${repaired} of ${gaps}`),
    conflated: 'Joined changes',
    ofDeltas: (conflated: number, deltas: number) => `${conflated} of ${deltas} messages`,
    conflatedNote:
      'Joined changes: messages with more than one revision, because changes arrived together, or faster than this page reads. No transfer is left out.',
    tryIt: 'Try to break it',
    actions: {
      transfer: 'Send a transfer',
      burst: 'Burst of 500',
      cut: 'Cut my socket',
      kill: 'Kill my gateway',
    },
    timeline: 'What happened',
    nothingHappened: 'Nothing yet.',
    sent: (count: number, account: string) =>
      count === 1 ? `You sent a transfer of ${account}` : `You sent ${count} transfers of ${account}`,
    cut: 'You cut the socket',
    killed: (gateway: string, pid: number) => `You killed ${gateway} (kill -9 of process ${pid})`,
    actionFailed: (reason: string) => `The action failed: ${reason}`,
    noSupervisor: 'this demo has no supervisor that the page may ask',
    unreachable: 'the demo did not answer',
    connected: (gateway: string) => `Connected to ${gateway}`,
    lost: (gateway: string, reason: string) => `Socket to ${gateway} lost: ${reason}`,
    ended: (gateway: string, reason: string) => `Socket to ${gateway} closed: ${reason}`,
    noGateway: (reason: string) => `No gateway has answered: ${reason}`,
    attempts: (count: number) =>
      count === 1 ? 'An attempt to reconnect failed' : `${count} attempts to reconnect failed`,
    reconnected: (gateway: string, seconds: string) => `Reconnected to ${gateway} after ${seconds} s`,
    accounts: (count: number) => `${count} accounts`,
    resumed: (account: string, revision: number, replayed: string) =>
      `Resumed ${account} from revision ${revision}: ${replayed}`,
    resumedMany: (count: number, replayed: string) => `Resumed ${count} accounts: ${replayed}`,
    nothingMissed: 'nothing was missed',
    loaded: (accounts: string, reason: string) => `Received a snapshot of ${accounts}: ${reason}`,
    gap: (accounts: string) => `A gap in ${accounts}: asked the gateway for the missing revisions`,
    repaired: (accounts: string) => `The gap in ${accounts} is repaired`,
    equal: (account: string, revision: number) =>
      `Nothing missing: ${account} equals SQL at revision ${revision}`,
    equalMany: (count: number) => `Nothing missing: ${count} accounts equal SQL`,
    different: (accounts: string) => `${accounts} differs from SQL`,
    notCompared: (accounts: string) => `${accounts} could not be compared with SQL`,
  },
};

export type Wording = typeof english;

/** The texts that the page shows. */
export const wording: Wording = english;
