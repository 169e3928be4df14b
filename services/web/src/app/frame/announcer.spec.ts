import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Announcer } from './announcer';

describe('Announcer', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** Returns the texts of the live region, each once. */
  function texts(announcer: Announcer, act: () => void, seconds: number): string[] {
    const heard: string[] = [];
    for (let tick = 0; tick < seconds * 100; tick += 1) {
      act();
      vi.advanceTimersByTime(10);
      const text = announcer.text();
      if (text !== heard.at(-1) && text !== '') heard.push(text);
    }
    return heard;
  }

  it('says a few sentences while thousands arrive, the last one too', () => {
    const announcer = new Announcer();
    let count = 0;
    const act = () => {
      for (let i = 0; i < 20; i += 1) announcer.say('watchlist', `${(count += 1)} changes.`);
    };
    const heard = texts(announcer, act, 20);
    expect(heard.length).toBeLessThanOrEqual(5);
    vi.advanceTimersByTime(5_000);
    expect(announcer.text()).toBe(`${count} changes.`);
  });

  it('says nothing if a state returns before it was said', () => {
    const announcer = new Announcer();
    announcer.say('connection', 'Live.');
    vi.advanceTimersByTime(10_000);
    announcer.say('connection', 'Catching up.');
    announcer.say('connection', 'Live.');
    vi.advanceTimersByTime(10_000);
    expect(announcer.text()).toBe('Live.');
  });

  it('joins the sentences of different topics', () => {
    const announcer = new Announcer();
    announcer.say('connection', 'Live.');
    announcer.say('watchlist', 'All 5 watched accounts are live.');
    vi.advanceTimersByTime(1_000);
    expect(announcer.text()).toBe('Live. All 5 watched accounts are live.');
  });

  it('repeats an answer that the user asks for again', () => {
    const announcer = new Announcer();
    for (let times = 0; times < 2; times += 1) {
      announcer.answer('Total €1.00.');
      expect(announcer.text()).toBe('');
      vi.advanceTimersByTime(6_000);
      expect(announcer.text()).toBe('Total €1.00.');
    }
  });
});
