/** Tells groups of rows whether they are near the window, so that only these have rows in the document. */

import { Injectable } from '@angular/core';

/** Distance from the window within which groups have rows: far enough that the reader rarely outruns them. */
const MARGIN = '6000px 0px';

const MAX_HEIGHTS = 10_000;

type Group = {
  /** Receives whether the group is near the window: at once, and at each change. */
  readonly near: (isNear: boolean) => void;
  /** Receives the height of the group: at once, and at each change. */
  readonly height: (height: number) => void;
};

@Injectable({ providedIn: 'root' })
export class InView {
  readonly #groups = new Map<Element, Group>();
  readonly #intersections = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) this.#groups.get(target)?.near(isIntersecting);
    },
    { rootMargin: MARGIN },
  );
  readonly #sizes = new ResizeObserver((entries) => {
    for (const { target, borderBoxSize } of entries)
      this.#groups.get(target)?.height(borderBoxSize[0]?.blockSize ?? 0);
  });
  readonly #heights = new Map<string, number>();

  /** Returns the height of a group that was in view, so that going back finds each row where it was. */
  height(name: string): number | null {
    return this.#heights.get(name) ?? null;
  }

  remember(name: string, height: number): void {
    if (this.#heights.size >= MAX_HEIGHTS) this.#heights.clear();
    this.#heights.set(name, height);
  }

  /** Watches the element of a group. Returns a function that ends this. */
  watch(element: Element, group: Group): () => void {
    this.#groups.set(element, group);
    this.#intersections.observe(element);
    this.#sizes.observe(element);
    return () => {
      this.#groups.delete(element);
      this.#intersections.unobserve(element);
      this.#sizes.unobserve(element);
    };
  }
}
