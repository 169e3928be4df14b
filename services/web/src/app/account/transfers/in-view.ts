/** Tells groups of rows whether they are near the window, so that only these have rows in the document. */

import { Injectable } from '@angular/core';

/** Distance from the window within which groups have rows: far enough that the reader rarely outruns them. */
const MARGIN = '6000px 0px';

const MAX_HEIGHTS = 10_000;

type Listener = (isNear: boolean, height: number) => void;

@Injectable({ providedIn: 'root' })
export class InView {
  readonly #listeners = new Map<Element, Listener>();
  readonly #observer = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting, boundingClientRect } of entries)
        this.#listeners.get(target)?.(isIntersecting, boundingClientRect.height);
    },
    { rootMargin: MARGIN },
  );
  readonly #heights = new Map<string, number>();

  /** Returns the height of a group that was in view, so that going back finds each row where it was. */
  height(name: string): number | null {
    return this.#heights.get(name) ?? null;
  }

  remember(name: string, height: number): void {
    if (this.#heights.size >= MAX_HEIGHTS) this.#heights.clear();
    this.#heights.set(name, height);
  }

  /** Calls `listener` at once and at each change. Returns a function that ends this. */
  watch(element: Element, listener: Listener): () => void {
    this.#listeners.set(element, listener);
    this.#observer.observe(element);
    return () => {
      this.#listeners.delete(element);
      this.#observer.unobserve(element);
    };
  }
}
