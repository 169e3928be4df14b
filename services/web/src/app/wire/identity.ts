/** The names of things. A brand makes the wrong call fail to compile; each is only made by its reader. */

declare const brand: unique symbol;
type Branded<Base, Name> = Base & { readonly [brand]: Name };

export type AccountId = Branded<string, 'AccountId'>;
/** Of one account inside one epoch; grows by 1 for each change; 0 = nothing applied yet. */
export type Revision = Branded<number, 'Revision'>;
/** 16 hex digits, compared for equality only. */
export type Epoch = Branded<string, 'Epoch'>;
/** RFC 3339, UTC, milliseconds. */
export type Instant = Branded<string, 'Instant'>;

/** A state of one account. Revisions compare only inside one epoch. */
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

/** Milliseconds since 1970. */
export function millis(at: Instant): number {
  return Date.parse(at);
}

export type Channel = `account:${AccountId}`;

export function channelName(account: AccountId): Channel {
  return `account:${account}`;
}
