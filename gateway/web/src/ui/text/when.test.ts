import { expect, test } from 'vitest';
import { timeBeside } from './when.ts';

test('a time beside a message is hours and minutes, whatever the language adds', () => {
  const at = Date.UTC(2026, 5, 21, 22, 5);
  const beside = (locale: string): string =>
    timeBeside(at, new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit', timeZone: 'UTC' }));
  expect(['en-GB', 'en-US', 'de', 'zh-TW'].map(beside)).toEqual(['22:05', '10:05', '22:05', '10:05']);
});
