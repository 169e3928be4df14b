import { describe, expect, it } from 'vitest';

import { tickTexts } from './plot';

describe('tickTexts', () => {
  it('leaves out a text that an edge would cut', () => {
    const plot = { width: 300, valToPos: (at: number) => at };
    const texts = tickTexts(plot, [0, 39, 40, 150, 260, 261, 300], 1);
    expect(texts.map((text) => text !== null)).toEqual([false, false, true, true, true, false, false]);
  });
});
