// Times as people say them.

const DAY_MS = 86_400_000;

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: 'long' });
const thisYear = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const otherYear = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'long', year: 'numeric' });
const shortDay = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'short' });

/** A number that is the same for all moments of one local day. */
export function dayOf(at: number): number {
  const date = new Date(at);
  return date.getFullYear() * 10_000 + date.getMonth() * 100 + date.getDate();
}

/** "14:05". */
export function timeOf(at: number): string {
  return clock.format(at);
}

/** "14:05", and "2:05" where it is "2:05 PM": for the narrow column beside messages. */
export function timeBeside(at: number, format = clock): string {
  const parts = format.formatToParts(at).filter(({ type }) => type !== 'dayPeriod');
  return parts.map(({ value }) => value).join('').trim();
}

/** The whole moment, for titles. */
export function momentOf(at: number): string {
  return full.format(at);
}

/** "Today", "Yesterday", "Tuesday, 4 March", "4 March 2024". */
export function dayName(at: number, now = Date.now()): string {
  if (dayOf(at) === dayOf(now)) return 'Today';
  if (dayOf(at) === dayOf(now - DAY_MS)) return 'Yesterday';
  return new Date(at).getFullYear() === new Date(now).getFullYear() ? thisYear.format(at) : otherYear.format(at);
}

/** The shortest that says when: "14:05", "Tuesday", "4 Mar". */
export function agoShort(at: number, now = Date.now()): string {
  if (dayOf(at) === dayOf(now)) return timeOf(at);
  if (now - at < 6 * DAY_MS) return weekday.format(at);
  return shortDay.format(at);
}
