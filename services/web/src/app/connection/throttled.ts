/** Joins changes, so that the page is drawn less often than they arrive. */

import { Subject, throttleTime } from 'rxjs';

/**
 * Returns a function that reports a change, after which `show` is called.
 *
 * The first change is shown at once, and those of the next `intervalMs` milliseconds together at their end.
 * `show` runs after the step that made the change has reported its events, which the log measures.
 */
export function throttled(intervalMs: number, show: () => void): () => void {
  const changes = new Subject<void>();
  changes.pipe(throttleTime(intervalMs, undefined, { leading: true, trailing: true })).subscribe(() => {
    queueMicrotask(show);
  });
  return () => {
    changes.next();
  };
}
