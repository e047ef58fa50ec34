// What a window leaves behind when it ends, and who sends it.
import { describe, expect, it } from 'vitest';
import type { Engine } from './engine.ts';
import { ADOPT_TRIES, OUTBOX_LOOK } from './limits.ts';
import { OutboxStore } from './outbox-store.ts';
import type { FakeWindow } from './testkit/browser.ts';
import { One } from './testkit/one.ts';

interface Two {
  one: One;
  /** The window that ends. */
  first: FakeWindow;
  here: Engine;
  /** The other one, which stays. */
  heir: Engine;
}

/** Two windows of ann, both online, and then the server is away. `prepared`: before the first one has an engine. */
async function two(prepared: (first: FakeWindow) => void = () => {}): Promise<Two> {
  const one = new One();
  const first = one.browser.open();
  prepared(first);
  const here = one.begin(first);
  here.start();
  one.engine.start();
  await one.clock.run(5_000);
  one.server.down = true;
  await one.clock.run(60_000);
  return { one, first, here, heir: one.engine };
}

const bodies = (one: One): (string | undefined)[] => one.tea.log.map((event) => event.body);

/** The first window ends, the server is there again, and some time goes by. */
async function ended({ one, first }: Two): Promise<void> {
  first.kill();
  one.server.down = false;
  await one.clock.run(120_000);
}

describe('what a window leaves behind', () => {
  it('is sent by another one that never heard of it', async () => {
    const scene = await two((first) => {
      // It ends between writing to disk and telling the others.
      first.env.openChannel = () => ({ postMessage: () => {}, onmessage: null, close: () => {} });
    });
    scene.here.send(scene.one.tea.id, 'left behind', null);
    await scene.one.clock.run(100);
    expect(scene.heir.pending(scene.one.tea.id)).toEqual([]);
    scene.first.kill();
    await scene.one.clock.run(OUTBOX_LOOK);
    expect(scene.heir.pending(scene.one.tea.id)).toHaveLength(1);
    await ended(scene);
    expect(bodies(scene.one)).toEqual(['left behind']);
    expect(scene.heir.outbox.unsent).toBe(0);
    await scene.heir.stop(false);
  });

  it('is found at once by a window that wakes', async () => {
    const scene = await two((first) => {
      first.env.openChannel = () => ({ postMessage: () => {}, onmessage: null, close: () => {} });
    });
    scene.here.send(scene.one.tea.id, 'left behind', null);
    await scene.one.clock.run(100);
    scene.first.kill();
    scene.heir.wake();
    await scene.one.clock.run(100);
    expect(scene.heir.pending(scene.one.tea.id)).toHaveLength(1);
    await scene.heir.stop(false);
  });

  it('is sent although taking it over failed at first', async () => {
    const scene = await two();
    scene.here.send(scene.one.tea.id, 'left behind', null);
    await scene.one.clock.run(100);
    let failures = 1;
    scene.one.browser.diskFails = (_window, mode) => mode === 'readwrite' && failures-- > 0;
    await ended(scene);
    expect(failures).toBeLessThan(1);
    expect(bodies(scene.one)).toEqual(['left behind']);
    await scene.heir.stop(false);
  });

  it('is sent although the disk takes nothing any more', async () => {
    const scene = await two();
    scene.here.send(scene.one.tea.id, 'left behind', null);
    await scene.one.clock.run(100);
    let failures = 0;
    scene.one.browser.diskFails = (_window, mode) => mode === 'readwrite' && ++failures > 0;
    await ended(scene);
    expect(failures).toBeGreaterThanOrEqual(ADOPT_TRIES);
    expect(bodies(scene.one)).toEqual(['left behind']);
    expect(scene.heir.outbox.unsent).toBe(0);
    await scene.heir.stop(false);
  });

  it('is sent although it never was on disk', async () => {
    const scene = await two();
    scene.one.browser.diskFails = (window) => window === scene.first;
    scene.here.send(scene.one.tea.id, 'left behind', null);
    await scene.one.clock.run(100);
    expect(scene.heir.pending(scene.one.tea.id)).toHaveLength(1);
    await ended(scene);
    expect(bodies(scene.one)).toEqual(['left behind']);
    expect(scene.heir.pending(scene.one.tea.id)).toEqual([]);
    await scene.heir.stop(false);
  });

  it('is on disk although writing it failed at first, and is sent by a window that is opened later', async () => {
    const one = new One();
    one.engine.start();
    await one.clock.run(5_000);
    one.server.down = true;
    await one.clock.run(60_000);
    one.browser.diskFails = () => true;
    one.engine.send(one.tea.id, 'left behind', null);
    await one.clock.run(100);
    one.browser.diskFails = () => false;
    await one.clock.run(OUTBOX_LOOK + 100);
    one.window.kill();
    one.server.down = false;
    const later = one.begin(one.browser.open());
    later.start();
    await one.clock.run(10_000);
    expect(bodies(one)).toEqual(['left behind']);
    await later.stop(false);
  });

  it('is sent by one of two heirs, also when it never was on disk', async () => {
    const scene = await two();
    const third = scene.one.begin(scene.one.browser.open());
    third.start();
    await scene.one.clock.run(5_000);
    scene.one.browser.diskFails = (window) => window === scene.first;
    scene.here.send(scene.one.tea.id, 'left behind', null);
    await scene.one.clock.run(100);
    await ended(scene);
    expect(bodies(scene.one)).toEqual(['left behind']);
    expect(scene.one.server.violations).toEqual([]);
    for (const engine of [scene.heir, third]) {
      expect(engine.pending(scene.one.tea.id)).toEqual([]);
      await engine.stop(false);
    }
  });

  it('is not shown as waiting where a window that lives could not take it off the disk', async () => {
    const one = new One();
    one.engine.start();
    await one.clock.run(5_000);
    let removes = 0;
    one.engine.send(one.tea.id, 'said', null);
    await one.clock.run(1);
    one.browser.diskFails = (_window, mode) => mode === 'readwrite' && ++removes > 0;
    await one.clock.run(1_000);
    expect([bodies(one), removes]).toEqual([['said'], 1]);
    const other = one.begin(one.browser.open());
    one.browser.diskFails = () => false;
    other.start();
    await one.clock.run(2_000);
    expect(other.pending(one.tea.id)).toHaveLength(1);
    await one.clock.run(2 * OUTBOX_LOOK);
    expect(other.pending(one.tea.id)).toEqual([]);
    expect(bodies(one)).toEqual(['said']);
    await one.engine.stop(false);
    await other.stop(false);
  });

  it('stays with a window that was opened after it, also when it never was on disk and was refused', async () => {
    const { one, first, here } = await two();
    one.browser.diskFails = (window) => window === first;
    here.send(one.tea.id, 'bad words', null);
    await one.clock.run(100);
    const later = one.begin(one.browser.open());
    later.start();
    one.server.down = false;
    here.wake();
    await one.clock.run(2_000);
    expect(later.pending(one.tea.id).map((pending) => pending.status)).toEqual(['failed']);
    later.wake();
    await one.clock.run(100);
    expect(later.pending(one.tea.id)).toHaveLength(1);
    await later.stop(false);
  });

  it('is not sent when it was taken back before', async () => {
    const scene = await two();
    const key = scene.here.send(scene.one.tea.id, 'taken back', null);
    await scene.one.clock.run(100);
    scene.here.outbox.discard(key);
    await scene.one.clock.run(100);
    await ended(scene);
    expect(bodies(scene.one)).toEqual([]);
    await scene.heir.stop(false);
  });

  it('is nothing when the user signed out, also not what was still to be written', async () => {
    const one = new One();
    const window = one.browser.open();
    const { locks, clock } = window.env;
    window.env.locks = {
      run: (name, work, signal) => locks.run(name, work, signal),
      hold: async (name) => {
        await new Promise<void>((resolve) => clock.after(500, resolve));
        return await locks.hold(name);
      },
    };
    const engine = one.begin(window);
    engine.send(one.tea.id, 'private', null);
    await one.clock.run(100);
    const stopped = engine.stop(true);
    await one.clock.run(2_000);
    await stopped;
    await one.clock.run(2_000);
    expect(await new OutboxStore(one.browser.indexedDb).load(one.ann.id)).toEqual([]);
  });
});
