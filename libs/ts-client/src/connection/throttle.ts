/** The throttle of a program's changes, so that a gateway does not reject its messages. */

/** A change takes up to four messages, but rarely more than two. A gateway accepts 10 a second, 30 at once. */
const INTERVAL_MS = 300;
const AT_ONCE = 8;

/**
 * Says how long the next change has to wait (generic cell rate algorithm, ITU-T I.371, annex A).
 *
 * Changes that wait are sent together. Times are in milliseconds on the clock of the session.
 */
export class Throttle {
  /** Time at which `AT_ONCE` changes may be sent again. */
  #fullAt = 0;

  wait(now: number): number {
    return Math.max(0, Math.max(this.#fullAt, now) - now - (AT_ONCE - 1) * INTERVAL_MS);
  }

  sent(now: number): void {
    this.#fullAt = Math.max(this.#fullAt, now) + INTERVAL_MS;
  }
}
