/** What a step of a machine needs from outside, as values. */
export type Moment = {
  /** Milliseconds on a clock that only goes forward. */
  readonly now: number;
  /** 0 ≤ chance < 1, drawn anew for each step. */
  readonly chance: number;
  /** Counts the steps, so that ids made from it are unique. */
  readonly serial: number;
};
