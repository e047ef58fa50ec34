import { describe, expect, it } from 'vitest';
import { mentions, mentionsUser } from './mentions.ts';

describe('mentions', () => {
  it.each([
    ['@ann', true],
    ['hi @Ann!', true],
    ['(@ANN)', true],
    ['@ann, @bob', true],
    ['@ann.', true],
    ['line\n@ann', true],
    ['mail ann@ann.org', false],
    ['x@ann', false],
    ['@annabel', false],
    ['@ann_', false],
    ['@ann-b', false],
    ['ann', false],
    ['é@ann', false],
    ['@anné', false],
    ['', false],
  ])('%j mentions ann: %s', (body, expected) => {
    expect(mentionsUser(body, 'ann')).toBe(expected);
  });

  it('are found with their places', () => {
    expect(mentions('a @bob c')).toEqual([{ start: 2, end: 6, username: 'bob' }]);
  });

  it('take names with the letters that names have', () => {
    expect(mentionsUser('ping @a-b_9', 'A-B_9')).toBe(true);
  });
});
