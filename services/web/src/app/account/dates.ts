/** Dates and times by the reader's clock, in the reader's language and time zone. */

const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const date = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' });
const dateTime = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

export const formatTime = (ms: number): string => time.format(ms);
export const formatDate = (ms: number): string => date.format(ms);
export const formatDateTime = (ms: number): string => dateTime.format(ms);

/** Formats a moment as a time, with its date unless it is `today`, a date as `formatDate` returns it. */
export function formatMoment(ms: number, today: string): string {
  return formatDate(ms) === today ? formatTime(ms) : formatDateTime(ms);
}
