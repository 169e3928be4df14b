/** Sentences for screen readers. The page has one polite live region, and this decides what it says and when. */

import { Injectable, signal } from '@angular/core';

/** Time in which sentences are collected before the first of them is said. */
const COLLECT_MS = 500;
/** Shortest time between two announcements, so that a listener can follow. */
const INTERVAL_MS = 5_000;

@Injectable({ providedIn: 'root' })
export class Announcer {
  /** The text of the live region. */
  readonly text = signal('');
  /** The latest sentence of each topic that is not said yet. */
  readonly #pending = new Map<string, string>();
  readonly #said = new Map<string, string>();
  #timer: ReturnType<typeof setTimeout> | null = null;

  /** Says a sentence soon, in place of an earlier sentence of the topic. What was said last is not repeated. */
  say(topic: string, sentence: string): void {
    if (sentence === (this.#said.get(topic) ?? '')) this.#pending.delete(topic);
    else this.#pending.set(topic, sentence);
    if (this.#pending.size > 0 && this.#timer === null) this.#wait(COLLECT_MS);
  }

  /** Says a sentence that the user asked for, even if it was said before. */
  answer(sentence: string): void {
    this.#said.delete('answer');
    this.text.set('');
    this.say('answer', sentence);
  }

  #wait(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#speak();
    }, ms);
  }

  #speak(): void {
    if (this.#pending.size === 0) return;
    for (const [topic, sentence] of this.#pending) this.#said.set(topic, sentence);
    const sentences = [...this.#pending.values()].filter((sentence) => sentence !== '');
    this.#pending.clear();
    if (sentences.length > 0) this.text.set(sentences.join(' '));
    this.#wait(INTERVAL_MS);
  }
}
