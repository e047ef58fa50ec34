import { describe, expect, it } from 'vitest';
import { excess, nameFault, passwordHolds, passwordRules, sentence, signInFault } from './rules.ts';

describe('names', () => {
  it('are faulted by the one thing that is wrong', () => {
    expect(nameFault('anna_lee-2')).toBe('');
    expect(nameFault('')).toContain('Choose');
    expect(nameFault('ab')).toContain('at least 3');
    expect(nameFault('x'.repeat(51))).toContain('at most 50');
    expect(nameFault('jürgen')).toContain('letters');
  });
});

describe('passwords', () => {
  it('show which rules hold', () => {
    expect(passwordRules('abcdefgh').map((rule) => rule.holds)).toEqual([true, false, true, false]);
    expect(passwordHolds('Correct-horse-1')).toBe(true);
    expect(passwordHolds('Ab1')).toBe(false);
    expect(passwordHolds(`Ab1${'x'.repeat(126)}`)).toBe(false);
  });
});

describe('refusals of a sign-in', () => {
  const refused = (code: string, retryAfterMs: number | null = null) => ({ code, message: 'the detail', retryAfterMs });

  it('say what to do', () => {
    expect(signInFault(refused('unauthenticated'))).toBe('The name or the password is wrong.');
    expect(signInFault(refused('rate_limited', 4_200))).toBe('Too many tries. Try again in 5 seconds.');
    expect(signInFault(refused('locked_out', 600_000))).toBe('Too many tries. Try again in 10 minutes.');
    expect(signInFault(refused('internal'))).toBe('The detail.');
  });

  it('are sentences', () => {
    expect(sentence('')).toBe('Something went wrong.');
    expect(sentence('No.')).toBe('No.');
  });
});

describe('the length of a profile', () => {
  it('is counted in characters, as the server counts', () => {
    expect([excess('', 2), excess('ab', 2), excess('abc', 2), excess('👩👩', 2)]).toEqual([0, 0, 1, 0]);
  });
});
