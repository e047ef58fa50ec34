import { describe, expect, it } from 'vitest';
import { BODY_BYTES_MAX, bytesOf, fitting, nameAt, shortened, withName } from './complete.ts';

describe('the name at the caret', () => {
  it('is found after an @ outside of a word', () => {
    expect(nameAt('hi @an', 6)).toEqual({ from: 3, prefix: 'an' });
    expect(nameAt('@', 1)).toEqual({ from: 0, prefix: '' });
    expect(nameAt('(@bo rest', 4)).toEqual({ from: 1, prefix: 'bo' });
    expect(nameAt('@Ångs', 5)).toEqual({ from: 0, prefix: 'Ångs' });
  });

  it('is none in addresses, after a space, or elsewhere', () => {
    expect(nameAt('me@home', 7)).toBeNull();
    expect(nameAt('@anna ', 6)).toBeNull();
    expect(nameAt('hello', 5)).toBeNull();
    expect(nameAt('@@an', 4)).toBeNull();
  });
});

describe('fitting people', () => {
  const people = ['Joanna', 'anna', 'Bob', 'ANNA', 'anders'].map((username) => ({ username }));
  const names: Record<string, string> = { Bob: 'Robert Ångström' };
  const fits = (prefix: string): string[] =>
    fitting(people, prefix, ({ username }) => names[username] ?? username).map((person) => person.username);

  it('begin with what was typed first, without case, each once', () => {
    expect(fits('an')).toEqual(['anna', 'anders', 'Joanna']);
  });

  it('are found by a word of their name as well', () => {
    expect([fits('rob'), fits('ång'), fits('ström')]).toEqual([['Bob'], ['Bob'], ['Bob']]);
  });

  it('are no more than are shown, and who is chosen stays among them', () => {
    const list = ['a', 'b', 'c', 'd'].map((id) => ({ id }));
    const shown = (chosen: string | null): string => shortened(list, 2, chosen).map(({ id }) => id).join('');
    expect([shown(null), shown('b'), shown('d'), shown('x')]).toEqual(['ab', 'ab', 'ad', 'ab']);
  });
});

describe('writing a name out', () => {
  it('puts a space after it, but not a second one', () => {
    expect(withName('hi @an', 6, { from: 3, prefix: 'an' }, 'anna')).toEqual({ text: 'hi @anna ', caret: 9 });
    expect(withName('hi @an you', 6, { from: 3, prefix: 'an' }, 'anna')).toEqual({ text: 'hi @anna you', caret: 9 });
  });
});

describe('the length of a body', () => {
  it('counts bytes where it matters', () => {
    expect(bytesOf('é'.repeat(BODY_BYTES_MAX / 2))).toBe(BODY_BYTES_MAX);
    expect(bytesOf('é'.repeat(BODY_BYTES_MAX / 2 + 1))).toBeGreaterThan(BODY_BYTES_MAX);
    expect(bytesOf('abc')).toBe(3);
  });
});
