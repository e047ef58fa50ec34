import { describe, expect, it } from 'vitest';
import { BackOff } from './back-off.ts';
import { BACK_OFF_FIRST, BACK_OFF_MAX, RETRY_AFTER_MAX, RETRY_SPREAD } from './limits.ts';

describe('the back-off', () => {
  it('is spread over the whole of a bound that doubles up to its maximum', () => {
    const highest = new BackOff(() => 1);
    const pauses = Array.from({ length: 12 }, () => highest.next());
    expect(pauses.slice(0, 4)).toEqual([1, 2, 4, 8].map((n) => n * BACK_OFF_FIRST));
    expect(pauses.at(-1)).toBe(BACK_OFF_MAX);
    expect(new BackOff(() => 0).next()).toBe(0);
  });

  it('starts again after a success', () => {
    const backOff = new BackOff(() => 1);
    for (let i = 0; i < 9; i += 1) backOff.next();
    backOff.reset();
    expect(backOff.next()).toBe(BACK_OFF_FIRST);
  });

  it('goes on doubling when the server names a short time', () => {
    const highest = new BackOff(() => 1);
    const pauses = Array.from({ length: 8 }, () => highest.next(100));
    expect(pauses.slice(0, 4)).toEqual([1, 2, 4, 8].map((n) => n * BACK_OFF_FIRST));
    expect(pauses.at(-1)).toBe(BACK_OFF_MAX);
    expect(new BackOff(() => 0).next(100)).toBe(100);
  });

  it('never comes before the time that the server names, within reason', () => {
    const backOff = new BackOff(() => 0);
    expect(backOff.next(7_000)).toBe(7_000);
    expect(new BackOff(() => 1).next(7_000)).toBe(7_000 + RETRY_SPREAD);
    expect(backOff.next(10 ** 9)).toBe(RETRY_AFTER_MAX);
  });
});
