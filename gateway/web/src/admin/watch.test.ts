import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Call } from '../state/types.ts';
import { report } from './sample.ts';
import { EVERY_MS, watch, type Page } from './watch.ts';

class Shown implements Page {
  hidden = false;
  listeners = new Set<() => void>();
  addEventListener(_: string, listener: () => void): void {
    this.listeners.add(listener);
  }
  removeEventListener(_: string, listener: () => void): void {
    this.listeners.delete(listener);
  }
  turn(hidden: boolean): void {
    this.hidden = hidden;
    for (const listener of this.listeners) listener();
  }
}

describe('the watch over the cluster', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('asks every two seconds, and not while the page is hidden', async () => {
    const page = new Shown();
    const call = vi.fn(async () => report());
    const show = vi.fn();
    const watching = watch(call as unknown as Call, '/api/cluster', page, show, () => {});
    await vi.advanceTimersByTimeAsync(2 * EVERY_MS);
    expect(show).toHaveBeenCalledTimes(3);
    page.turn(true);
    await vi.advanceTimersByTimeAsync(20 * EVERY_MS);
    expect(call).toHaveBeenCalledTimes(3);
    page.turn(false);
    await vi.advanceTimersByTimeAsync(0);
    expect(call).toHaveBeenCalledTimes(4);
    watching.stop();
    await vi.advanceTimersByTimeAsync(20 * EVERY_MS);
    expect(call).toHaveBeenCalledTimes(4);
    expect(page.listeners.size).toBe(0);
  });

  it('goes on after a failure, and has one question on its way at a time', async () => {
    const page = new Shown();
    const fail = vi.fn();
    const show = vi.fn();
    let answer: ((value: unknown) => void) | undefined;
    const call = vi
      .fn()
      .mockRejectedValueOnce(new Error('not reached'))
      .mockImplementation(() => new Promise((done) => (answer = done)));
    const watching = watch(call as unknown as Call, '/api/cluster', page, show, fail);
    await vi.advanceTimersByTimeAsync(EVERY_MS);
    expect(fail).toHaveBeenCalledTimes(1);
    expect(call).toHaveBeenCalledTimes(2);
    watching.again();
    watching.again();
    expect(call).toHaveBeenCalledTimes(2);
    answer?.(report());
    await vi.advanceTimersByTimeAsync(0);
    expect(show).toHaveBeenCalledTimes(1);
    expect(call).toHaveBeenCalledTimes(3);
    watching.stop();
  });
});
