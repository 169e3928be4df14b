/** Close codes of the socket as data. 4000–4499 mean "come back", 4500–4999 never; the rest as in RFC 6455. */

import { nullable, struct, text, whole } from './shape';

export type Verdict =
  /** Connects again by itself and resumes. */
  | 'comes back'
  /** The page itself is too old: loads it anew. */
  | 'reloads'
  /** Only a person starts it again. */
  | 'stays away';

/** What a person reads; codes not listed are told by their range. */
const WORDS: Readonly<Record<number, string>> = {
  1002: 'the gateway and this page do not understand each other',
  1011: 'the gateway had an error',
  4000: 'the gateway is restarting',
  4001: 'the session expired',
  4013: 'the gateway is busy',
  4500: 'the gateway and this page do not understand each other',
  4501: 'not signed in',
  4503: 'access was revoked',
  4505: 'too many connections are open',
  4506: 'this page is out of date',
  4509: 'the gateway refuses this page',
};

const FINAL_RFC: ReadonlySet<number> = new Set([1002, 1003, 1007, 1008, 1009, 1010]);

export function verdict(code: number): Verdict {
  if (code === 4506) return 'reloads';
  return FINAL_RFC.has(code) || (code >= 4500 && code <= 4999) ? 'stays away' : 'comes back';
}

/** Another token may be taken. */
export function refusesToken(code: number): boolean {
  return code === 4001 || code === 4501;
}

/** Not (or no more) allowed to see what was shown. */
export function takesAway(code: number): boolean {
  return code === 4501 || code === 4503;
}

export function closeWords(code: number): string {
  return (
    WORDS[code] ?? (verdict(code) === 'stays away' ? 'the gateway ended the session' : 'connection lost')
  );
}

const MAX_RETRY_AFTER_MS = 3_600_000;
const reasonBody = struct({}, { retry_after_ms: nullable(whole), code: text });

/** What the reason of a close asks for; null when it says nothing that can be read. */
export function retryAfterMs(reason: string): number | null {
  try {
    const asked = reasonBody(JSON.parse(reason)).retry_after_ms ?? null;
    return asked !== null && asked <= MAX_RETRY_AFTER_MS ? asked : null;
  } catch {
    return null; // a reason is a hint, and whatever cannot be read is none
  }
}
