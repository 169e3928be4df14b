/** What a client knows of an account, as an immutable value for a view. */

import { isLive } from '../connection/freshness.js';
import { isForbidden, type Session } from '../connection/session-state.js';
import type { AccountId, Instant } from '../wire/identity.js';
import type { AccountState } from './account-state.js';

/** Progress of a read over REST. */
export type Loading = 'idle' | 'loading' | 'failed';

export type AccountView = {
  readonly account: AccountId;
  /** The balance and the newest transfers; null if none arrived yet or the user may not see the account. */
  readonly state: AccountState | null;
  /** Whether `state` is current. If it is false, show that the state may be outdated. */
  readonly live: boolean;
  /** The state includes everything recorded up to this time; null if that time is unknown. */
  readonly asOf: Instant | null;
  /** Why the gateway rejected or ended the subscription; null if it did not. */
  readonly rejected: { readonly code: string; readonly message: string } | null;
  /** Whether the user may not see the account (any more). */
  readonly forbidden: boolean;
  /** Whether older transfers are being loaded. */
  readonly older: Loading;
  /** Whether the transfers of a gap are being loaded. */
  readonly missing: Loading;
};

export function newAccountView(account: AccountId): AccountView {
  return {
    account,
    state: null,
    live: false,
    asOf: null,
    rejected: null,
    forbidden: false,
    older: 'idle',
    missing: 'idle',
  };
}

/** Returns the view of an account and its state. It is the same object if nothing has changed. */
export function viewIn(
  session: Session,
  now: number,
  view: AccountView,
  state: AccountState | null,
): AccountView {
  const channel = session.channels.get(view.account);
  const phase = channel?.phase;
  const rejected = phase?.kind === 'rejected' ? phase : null;
  const forbidden = isForbidden(session, channel);
  return withFields(view, {
    state: forbidden ? null : state,
    forbidden,
    live: channel !== undefined && isLive(session, channel, now),
    asOf: channel?.asOf ?? null,
    rejected: rejected && view.rejected?.code === rejected.code ? view.rejected : rejected,
  });
}

/** Returns the view with other fields. It is the same object if they are equal. */
export function withFields<View extends object>(view: View, fields: Partial<View>): View {
  const names = Object.keys(fields) as (keyof View)[];
  return names.every((name) => fields[name] === view[name]) ? view : { ...view, ...fields };
}
