/** Reads that are repeated when their subject changes. */

import { computed, effect, signal, untracked, type Signal } from '@angular/core';

/** What a read has answered. Both are null until then. */
export type Answer<T> = { readonly value: T | null; readonly error: unknown };
export type Reading<T> = { readonly answer: Signal<Answer<T>>; readonly retry: () => void };

const NOTHING = { value: null, error: null };

/**
 * Reads whenever the JSON of `subject` changes, and aborts the read before it. A subject of null is not read.
 *
 * Angular's `resource` does the same, but would become a part of the first paint.
 */
export function readingOf<S, T>(
  subject: () => S | null,
  read: (subject: S, signal: AbortSignal) => Promise<T>,
): Reading<T> {
  const key = computed(() => JSON.stringify(subject()));
  const attempt = signal(0);
  const last = signal<Answer<T> & { readonly key: string }>({ ...NOTHING, key: '' });
  effect((onCleanup) => {
    attempt();
    const current = key();
    const reading = new AbortController();
    const show = (answer: Answer<T>) => {
      if (!reading.signal.aborted) last.set({ ...answer, key: current });
    };
    onCleanup(() => {
      reading.abort();
    });
    show(NOTHING);
    const parsed = JSON.parse(current) as S | null;
    if (parsed === null) return;
    untracked(() => read(parsed, reading.signal)).then(
      (value) => {
        show({ value, error: null });
      },
      (error: unknown) => {
        show({ value: null, error });
      },
    );
  });
  return {
    // The answer about another subject is never shown.
    answer: computed(() => (last().key === key() ? last() : NOTHING)),
    retry: () => {
      attempt.update((count) => count + 1);
    },
  };
}
