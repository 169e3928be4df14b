/**
 * The texts of the page. Those of the trust panel, and of the lists and charts of an account, are in
 * `trust/wording.ts` and `account/wording.ts`, because they are no part of the first paint. A translation is
 * another object of type `Wording`.
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
      (notLive === 0
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
};

export type Wording = typeof english;

/** The texts that the page shows. */
export const wording: Wording = english;
