import { describe, expect, it } from 'vitest';

import { formatDate, formatDateTime, formatMoment, formatTime } from './dates';

describe('formatMoment', () => {
  const noon = new Date(2026, 10, 28, 12).getTime();

  it('is a time on the day of the reader, and names any other day', () => {
    const today = formatDate(new Date(2026, 10, 28, 23, 59).getTime());
    expect(formatMoment(noon, today)).toBe(formatTime(noon));
    const march = new Date(2026, 2, 2, 10, 30).getTime();
    expect(formatMoment(march, today)).toBe(formatDateTime(march));
  });

  it('names the day of an hour ago after midnight', () => {
    const tomorrow = formatDate(new Date(2026, 10, 29, 0, 30).getTime());
    const late = new Date(2026, 10, 28, 23, 30).getTime();
    expect(formatMoment(late, tomorrow)).toContain('28');
  });
});
