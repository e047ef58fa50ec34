import { toStore } from 'svelte/store';
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

  it('tell what comes by itself with the next frame, and sooner when something else is told', async () => {
    const frames: (() => void)[] = [];
    const topics = new Topics((work) => frames.push(work));
    const draw = (): void => frames.splice(0).forEach((work) => work());
    const versions = (): number[] => ['a', 'b', 'c'].map((name) => topics.version(name));
    for (const name of ['a', 'a', 'b']) topics.soon(name);
    await Promise.resolve();
    expect([versions(), frames.length]).toEqual([[0, 0, 0], 1]);
    draw();
    expect(versions()).toEqual([1, 1, 0]);

    topics.soon('a');
    topics.changed('c');
    topics.soon('b');
    await Promise.resolve();
    expect(versions()).toEqual([2, 2, 1]);
    topics.soon('a');
    draw();
    expect(versions()).toEqual([3, 2, 1]);
  });

  it('run nobody again for what they do not read, also not for a topic that never changed', async () => {
    const topics = new Topics();
    let runs = 0;
    const read = (): number => {
      runs += 1;
      return topics.version('draft');
    };
    const end = toStore(read).subscribe(() => {});
    const turn = (): Promise<void> => new Promise((done) => setTimeout(done));
    await turn();
    const settled = runs;
    for (const name of ['rooms', 'rooms', 'presence']) {
      topics.changed(name);
      await turn();
    }
    expect(runs).toBe(settled);
    topics.changed('draft');
    await turn();
    expect(runs).toBe(settled + 1);
    end();
  });
});
