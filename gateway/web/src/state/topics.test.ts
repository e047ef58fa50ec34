import { describe, expect, it } from 'vitest';
import { Topics } from './topics.svelte.ts';

describe('topics', () => {
  it('gather what changes in one turn', async () => {
    const topics = new Topics();
    for (let i = 0; i < 3; i += 1) topics.changed('rooms');
    expect(topics.version('rooms')).toBe(0);
    await Promise.resolve();
    expect([topics.version('rooms'), topics.version('other')]).toEqual([1, 0]);
  });
});
