import { describe, expect, it } from 'vitest';
import { matching, score } from './match.ts';

describe('matching', () => {
  it('puts beginnings before words, words before parts, parts before letters in order', () => {
    const names = ['x-r-e-l', 'unrelated', 'team-release', 'release-notes', 'rel'];
    expect(matching(names, (name) => [name], 'rel')).toEqual(['rel', 'release-notes', 'team-release', 'unrelated', 'x-r-e-l']);
  });

  it('keeps the order of those that fit equally, and all when nothing is sought', () => {
    expect(matching(['b', 'a'], (name) => [name], ' ')).toEqual(['b', 'a']);
  });

  it('takes the name that fits best, of those that one has', () => {
    const people = [['ada', 'Countess'], ['bob', 'Ada'], ['eve', 'Eve']];
    expect(matching(people, (names) => names, 'ad').map(([username]) => username)).toEqual(['ada', 'bob']);
  });

  it('finds a word by its beginning where that ends in a sigma', () => {
    for (const sought of ['ΟΔΟΣ', 'οδος', 'οδοσ']) {
      expect(score('Οδοσήμανση', sought)).toBe(5);
      expect(score('ΟΔΟΣ', sought)).toBe(6);
    }
  });

  it('is without case and leaves out what does not fit', () => {
    expect(score('General', 'gen')).toBeGreaterThan(0);
    expect(score('General', 'lg')).toBe(0);
  });
});
