/** A set that is followed: its state and its listeners. */

import type { Session } from '../connection/session-state.js';
import { Listeners } from '../listeners.js';
import type { SetDelta, SetSnapshot } from '../wire/frame.js';
import type { SetName } from '../wire/identity.js';
import { SetAssembly, newSetView, setViewIn, type SetView } from './set-state.js';

export type SetListener = (view: SetView) => void;

export class FollowedSet {
  readonly listeners = new Listeners<SetView>();
  readonly #assembly = new SetAssembly();
  #view: SetView;

  constructor(name: SetName) {
    this.#view = newSetView(name);
  }

  get view(): SetView {
    return this.#view;
  }

  /** Applies a frame that fits the frame before. */
  apply(frame: SetSnapshot | SetDelta): void {
    this.#assembly.apply(frame);
  }

  /** Brings the view up to date with the session, and reports it if it has changed. */
  update(session: Session, now: number): void {
    const view = setViewIn(session, now, this.#view, this.#assembly.state);
    if (view === this.#view) return;
    this.#view = view;
    this.listeners.call(view);
  }
}
