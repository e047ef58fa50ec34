import { describe, expect, it } from 'vitest';
import { BODY_BYTES_MAX, bytesOf, fitting, nameAt, withName } from './complete.ts';

describe('the name at the caret', () => {
  it('is found after an @ outside of a word', () => {
    expect(nameAt('hi @an', 6)).toEqual({ from: 3, prefix: 'an' });
    expect(nameAt('@', 1)).toEqual({ from: 0, prefix: '' });
    expect(nameAt('(@bo rest', 4)).toEqual({ from: 1, prefix: 'bo' });
  });

  it('is none in addresses, after a space, or elsewhere', () => {
    expect(nameAt('me@home', 7)).toBeNull();
    expect(nameAt('@anna ', 6)).toBeNull();
    expect(nameAt('hello', 5)).toBeNull();
    expect(nameAt('@@an', 4)).toBeNull();
  });
});

describe('fitting names', () => {
  const people = ['Joanna', 'anna', 'Bob', 'ANNA', 'anders'].map((username) => ({ username }));

  it('begin with what was typed first, without case, each once', () => {
    expect(fitting(people, 'an', 9).map((person) => person.username)).toEqual(['anna', 'anders', 'Joanna']);
  });

  it('are no more than asked for', () => {
    expect(fitting(people, '', 2)).toHaveLength(2);
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
