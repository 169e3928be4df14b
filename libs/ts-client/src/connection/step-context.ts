/** Inputs of a state machine's step that come from the outside: time, randomness and a serial number. */
export type StepContext = {
  /** Milliseconds on a clock that never goes backwards. */
  readonly now: number;
  /** Random number, 0 ≤ jitter < 1, drawn for each step. */
  readonly jitter: number;
  /** Number of the step, so that ids made from it are unique. */
  readonly serial: number;
};
