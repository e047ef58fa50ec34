import { expect, it } from 'vitest';
import { initials } from './person.ts';

it('the letters of a person are those of their first two words', () => {
  const of = { 'Ada Lovelace': 'AL', anna_lee: 'AL', bob: 'BO', 'x': 'X', '(Ada) «Lovelace»': 'AL', 'Ådne Åsen Øy': 'ÅÅ' };
  for (const [name, letters] of Object.entries(of)) expect(initials(name)).toBe(letters);
});

it('a name without letters has its first sign', () => {
  expect([initials('🦊 🦊'), initials('…'), initials('')]).toEqual(['🦊', '…', '?']);
});
