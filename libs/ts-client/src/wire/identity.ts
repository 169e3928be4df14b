/** Branded types, so that mixing up an id, a revision and an epoch does not compile. Each has one parser. */

declare const brand: unique symbol;
type Branded<Base, Name> = Base & { readonly [brand]: Name };

export type AccountId = Branded<string, 'AccountId'>;
/** Counts the changes of one account inside one epoch; 0 means that no change was applied yet. */
export type Revision = Branded<number, 'Revision'>;
/** 16 hexadecimal digits. Epochs have no order. */
export type Epoch = Branded<string, 'Epoch'>;
/** Timestamp in RFC 3339 format, UTC, with milliseconds. */
export type Instant = Branded<string, 'Instant'>;

/** Identifies a state of one account. Revisions can be compared only within one epoch. */
export type Position = { readonly epoch: Epoch; readonly revision: Revision };

export const ZERO = 0 as Revision;

export function accountId(text: string): AccountId | null {
  return /^[A-Za-z0-9._-]{1,64}$/.test(text) ? (text as AccountId) : null;
}

export function revision(value: number): Revision | null {
  return Number.isSafeInteger(value) && value >= 0 ? (value as Revision) : null;
}

export function epoch(text: string): Epoch | null {
  return /^[0-9a-f]{16}$/.test(text) ? (text as Epoch) : null;
}

export function instant(text: string): Instant | null {
  return Number.isNaN(Date.parse(text)) ? null : (text as Instant);
}

let lastText: string | null = null;
let lastMillis = NaN;

/**
 * Returns milliseconds since 1970.
 *
 * A heartbeat gives all accounts of a connection the same time, and each frame asks how old it is: the last text
 * is parsed once.
 */
export function millis(at: Instant): number {
  if (at !== lastText) [lastText, lastMillis] = [at, Date.parse(at)];
  return lastMillis;
}

export type ChannelName = `account:${AccountId}`;

export function channelName(account: AccountId): ChannelName {
  return `account:${account}`;
}

/** Returns the account of a channel, or null if the name is not that of an account's channel. */
export function channelAccount(name: string): AccountId | null {
  return name.startsWith('account:') ? accountId(name.slice('account:'.length)) : null;
}

/** The channel of a set: all accounts whose ids begin with a prefix, or all accounts of a client. */
export type SetName = Branded<string, 'SetName'>;

/** Returns the name of a set, or null if it is not `prefix:<start of ids>` or `client:<client id>`. */
export function setName(text: string): SetName | null {
  return /^(prefix:[A-Za-z0-9._-]{0,64}|client:[A-Za-z0-9._-]{1,64})$/.test(text) ? (text as SetName) : null;
}
