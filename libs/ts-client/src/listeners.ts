/** The functions that a user wants called with each new view of an account or a set. */

export class Listeners<View> {
  readonly #listeners = new Set<(view: View) => void>();

  get isEmpty(): boolean {
    return this.#listeners.size === 0;
  }

  /** Adds a listener. Returns a function that removes it. */
  add(listener: (view: View) => void): () => void {
    const entry = (view: View) => {
      listener(view);
    };
    this.#listeners.add(entry);
    return () => {
      this.#listeners.delete(entry);
    };
  }

  clear(): void {
    this.#listeners.clear();
  }

  call(view: View): void {
    for (const listener of this.#listeners) {
      try {
        listener(view);
      } catch (error) {
        // A faulty listener must not stop the client. The error is reported as if nothing had caught it.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
