/** The state of a set, assembled from pages, and what a client knows of a set, as a value for a view. */

import { withFields } from '../account/account-view.js';
import { isLive } from '../connection/freshness.js';
import { isForbidden, type Session } from '../connection/session-state.js';
import type { Member, SetDelta, SetSnapshot, Total } from '../wire/frame.js';
import type { AccountId, Epoch, Instant, SetName } from '../wire/identity.js';

/** A set at a position, which is the epoch and the number of the newest batch of each lane. */
export type SetState = {
  readonly epoch: Epoch;
  readonly lanes: Readonly<Record<string, number>>;
  /** The sum of the members' balances per currency: that of SQL at this position. */
  readonly totals: readonly Total[];
  /** One map for all states of a set: it has the members of the newest. Copy it to keep it. */
  readonly members: ReadonlyMap<AccountId, Member>;
};

export type SetView = {
  readonly name: SetName;
  /** The members and their totals; null if none arrived yet or the user may not see the set. */
  readonly state: SetState | null;
  /** Whether `state` is current. If it is false, show that the state may be outdated. */
  readonly live: boolean;
  /** The state includes everything recorded up to this time; null if that time is unknown. */
  readonly asOf: Instant | null;
  /** Why the gateway rejected or ended the subscription; null if it did not. */
  readonly rejected: { readonly code: string; readonly message: string } | null;
  /** Whether the user may not see the set (any more). */
  readonly forbidden: boolean;
};

/** Builds the states of a set. Pages wait until the last, so that the state is always at a position. */
export class SetAssembly {
  state: SetState | null = null;
  #pages: (SetSnapshot | SetDelta)[] = [];
  readonly #members = new Map<AccountId, Member>();

  /** Applies a frame that fits the frame before. */
  apply(frame: SetSnapshot | SetDelta): void {
    if (frame.type === 'set_snapshot') this.#pages = [];
    this.#pages.push(frame);
    if (frame.lanes === undefined || frame.totals === undefined) return;
    const isNew = this.#pages[0]?.type === 'set_snapshot';
    const lanes = { ...(isNew ? {} : this.state?.lanes), ...frame.lanes };
    for (const page of this.#pages.splice(0)) this.#change(page);
    this.state = { epoch: frame.epoch, lanes, totals: frame.totals, members: this.#members };
  }

  #change(page: SetSnapshot | SetDelta): void {
    if (page.type === 'set_snapshot') this.#members.clear();
    else for (const account of page.left ?? []) this.#members.delete(account);
    for (const member of page.members) this.#members.set(member.account, member);
  }
}

export function newSetView(name: SetName): SetView {
  return { name, state: null, live: false, asOf: null, rejected: null, forbidden: false };
}

/** Returns the view of a set and its state. It is the same object if nothing has changed. */
export function setViewIn(session: Session, now: number, view: SetView, state: SetState | null): SetView {
  const set = session.sets.get(view.name);
  const rejected = set?.phase.kind === 'rejected' ? set.phase : null;
  const forbidden = isForbidden(session, set);
  return withFields(view, {
    state: forbidden ? null : state,
    forbidden,
    live: set !== undefined && isLive(session, set, now),
    asOf: set?.asOf ?? null,
    rejected: rejected && view.rejected?.code === rejected.code ? view.rejected : rejected,
  });
}
