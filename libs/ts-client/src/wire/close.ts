/** Close codes. After 4000–4499 clients reconnect, after 4500–4999 they do not. Others: RFC 6455 §7.4. */

import { nullable, struct, text, wholeNumber } from './json-reader.js';

export type CloseAction =
  /** The client reconnects and resumes without the user. */
  | 'reconnect'
  /** The client is outdated; a page reloads. */
  | 'reload'
  /** The client stays disconnected until the user retries. */
  | 'stop';

/** Texts for the user. A code without an entry gets the text of its range. */
const TEXTS: Readonly<Record<number, string>> = {
  1002: 'the gateway and this page do not understand each other',
  1011: 'the gateway had an internal error',
  4000: 'the gateway is restarting',
  4001: 'the session expired',
  4013: 'the gateway is busy',
  4500: 'the gateway and this page do not understand each other',
  4501: 'not signed in',
  4503: 'access was revoked',
  4505: 'too many connections are open',
  4506: 'this page is out of date',
  4509: 'too many requests came from this address',
};

/** RFC 6455 codes that report a fault of this client, so that reconnecting does not help. */
const CLIENT_FAULTS: ReadonlySet<number> = new Set([1002, 1003, 1007, 1008, 1009, 1010]);

export function closeAction(code: number): CloseAction {
  if (code === 4506) return 'reload';
  return CLIENT_FAULTS.has(code) || (code >= 4500 && code <= 4999) ? 'stop' : 'reconnect';
}

/** Tells whether the gateway rejected the token, so that the client requests a new token. */
export function rejectsToken(code: number): boolean {
  return code === 4001 || code === 4501;
}

/** Tells whether the user may no longer see the accounts. */
export function revokesAccess(code: number): boolean {
  return code === 4501 || code === 4503;
}

export function closeText(code: number): string {
  return TEXTS[code] ?? (closeAction(code) === 'stop' ? 'the gateway ended the session' : 'connection lost');
}

const MAX_RETRY_AFTER_MS = 3_600_000;
const reasonBody = struct({}, { retry_after_ms: nullable(wholeNumber), code: text });

/** Returns `retry_after_ms` of a close reason, or null if the reason has no valid value. */
export function retryAfterMs(reason: string): number | null {
  try {
    const delay = reasonBody(JSON.parse(reason)).retry_after_ms ?? null;
    return delay !== null && delay <= MAX_RETRY_AFTER_MS ? delay : null;
  } catch {
    return null; // the reason is only a hint, so an unreadable reason is ignored
  }
}
