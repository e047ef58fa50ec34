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
    ['@ann@bob', true],
    ['@ann-é', true],
    ['@bob @ann', true],
    ['mail ann@ann.org', false],
    ['x@ann', false],
    ['-@ann', false],
    ['@@ann', false],
    ['@annabel', false],
    ['@ann_', false],
    ['@ann-b', false],
    ['@ann-', false],
    ['ann', false],
    ['é@ann', false],
    ['@anné', false],
    ['का@ann', false],
    ['@', false],
    ['', false],
  ])('%j mentions ann: %s', (body, expected) => {
    expect(mentionsUser(body, 'ann')).toBe(expected);
  });

  it('are found with their places', () => {
    expect(mentions('a @bob c')).toEqual([{ start: 2, end: 6, username: 'bob' }]);
  });

  it('are the first names only, each once, and none that is too long to be a name', () => {
    const names = Array.from({ length: 25 }, (_, n) => `@user${n} @USER${n}`).join(' ');
    expect([mentionsUser(names, 'user19'), mentionsUser(names, 'user20')]).toEqual([true, false]);
    expect(mentionsUser(`@${'x'.repeat(51)} ${names}`, 'user19')).toBe(true);
  });

  it('take names with the letters that names have', () => {
    expect(mentionsUser('ping @a-b_9', 'A-B_9')).toBe(true);
  });
});
