// What a window leaves behind when it ends, and who sends it.
import { describe, expect, it } from 'vitest';
import type { Engine } from './engine.ts';
import { ADOPT_TRIES, LEASE, OUTBOX_LOOK, STORE_WAIT } from './limits.ts';
import { Leases } from './locks.ts';
import { OutboxStore } from './outbox-store.ts';
import { PeopleStore } from './people-store.ts';
import { type FakeWindow, STUCK } from './testkit/browser.ts';
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
async function two(prepared: (first: FakeWindow) => void = () => {}, hasLocks = true): Promise<Two> {
  const one = new One(undefined, hasLocks);
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

  it('is not sent when it was taken back while the disk failed, whichever window finds it there, and leaves no trace', async () => {
    // `heirs`: a window that hears of it stays, or the next one is opened after it.
    for (const heirs of [true, false]) {
      const one = new One();
      one.engine.start();
      const heir = heirs ? one.begin(one.browser.open()) : null;
      heir?.start();
      await one.clock.run(5_000);
      one.server.down = true;
      await one.clock.run(60_000);
      const key = one.engine.send(one.tea.id, 'taken back', null);
      await one.clock.run(100);
      one.browser.diskFails = (_window, mode) => mode === 'readwrite';
      one.engine.outbox.discard(key);
      await one.clock.run(1);
      one.window.kill();
      await one.clock.run(10);
      expect(await new OutboxStore(one.window.env).load(one.ann.id)).toHaveLength(1);
      one.browser.diskFails = () => false;
      const later = one.begin(one.browser.open());
      later.start();
      one.server.down = false;
      for (let step = 0; step < 1_200; step += 1) {
        await one.clock.run(100);
        expect(later.pending(one.tea.id)).toEqual([]);
      }
      expect(bodies(one)).toEqual([]);
      expect(await new OutboxStore(one.window.env).load(one.ann.id)).toEqual([]);
      await one.clock.run(3 * OUTBOX_LOOK);
      expect(one.browser.memory.names().filter((name) => name.includes('taken-back'))).toEqual([]);
      await later.stop(false);
      await heir?.stop(false);
    }
  });

  it('is nothing when the user signed out while the disk failed', async () => {
    const one = new One();
    one.engine.start();
    await one.clock.run(5_000);
    one.server.down = true;
    await one.clock.run(60_000);
    one.engine.send(one.tea.id, 'private', null);
    await one.clock.run(100);
    one.browser.diskFails = (_window, mode) => mode === 'readwrite';
    const stopped = one.engine.stop(true);
    await one.clock.run(2_000);
    await stopped;
    one.browser.diskFails = () => false;
    one.server.down = false;
    const later = one.begin(one.browser.open());
    later.start();
    await one.clock.run(120_000);
    expect(bodies(one)).toEqual([]);
    expect(await new OutboxStore(one.window.env).load(one.ann.id)).toEqual([]);
    await later.stop(false);
  });

  it('is nothing when the page is closed in the moment in which the user signs out', async () => {
    const one = new One();
    const engine = one.begin(one.window, new PeopleStore(one.window.env));
    engine.start();
    await one.clock.run(5_000);
    one.server.down = true;
    await one.clock.run(60_000);
    engine.send(one.tea.id, 'private', null);
    await one.clock.run(100);
    void engine.stop(true);
    // Nothing else may come first: the page could be gone before it.
    expect(one.browser.memory.names().filter((name) => name.includes('taken-back'))).toHaveLength(1);
    one.window.kill();
    one.server.down = false;
    const later = one.begin(one.browser.open());
    later.start();
    await one.clock.run(120_000);
    expect(bodies(one)).toEqual([]);
    await later.stop(false);
  });

  it('is nothing when the user signs out while the names on disk cannot be forgotten', async () => {
    const one = new One();
    const { env } = one.window;
    const engine = one.begin(one.window, new PeopleStore({ ...env, indexedDb: STUCK }));
    engine.start();
    await one.clock.run(5_000);
    one.server.down = true;
    await one.clock.run(60_000);
    engine.send(one.tea.id, 'private', null);
    await one.clock.run(100);
    const stopped = engine.stop(true);
    await one.clock.run(10);
    expect(await new OutboxStore(env).load(one.ann.id)).toEqual([]);
    expect(one.browser.memory.names().filter((name) => name.includes('taken-back'))).toEqual([]);
    await one.clock.run(STORE_WAIT);
    await stopped;
  });

  it('ends in time with a disk that never answers', async () => {
    for (const hasLocks of [true, false]) {
      for (const forget of [true, false]) {
        const one = new One(undefined, hasLocks);
        const { env } = one.window;
        env.indexedDb = STUCK;
        if (!hasLocks) env.locks = new Leases(STUCK, env.clock, env.uuid);
        const engine = one.begin(one.window, new PeopleStore(env));
        engine.start();
        await one.clock.run(500);
        const stopped = engine.stop(forget);
        await one.clock.run(2 * STORE_WAIT);
        await stopped;
      }
    }
  });

  it('is nothing when the user signed out, also not what was still to be written', async () => {
    const one = new One();
    const window = one.browser.open();
    const { locks, clock } = window.env;
    window.env.locks = {
      areCertain: locks.areCertain,
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
    expect(await new OutboxStore(one.window.env).load(one.ann.id)).toEqual([]);
  });
});

describe('where the browser has no locks', () => {
  /** Which window sends what waits, as an engine knows it. */
  const owner = (one: One, engine: Engine): string | undefined => engine.pending(one.tea.id)[0]?.stored.owner;

  /** How often the server got a change. */
  function counted(one: One): Map<string, number> {
    const counts = new Map<string, number>();
    const { server } = one;
    const commit = server.commit.bind(server);
    server.commit = (room, sender, key, change) => {
      counts.set(key, (counts.get(key) ?? 0) + 1);
      return commit(room, sender, key, change);
    };
    return counts;
  }

  it('a window that lives keeps what it has to send, also when its disk fails and its lease runs out', async () => {
    const scene = await two(undefined, false);
    const { one, first, here, heir } = scene;
    const counts = counted(one);
    const key = here.send(one.tea.id, 'mine', null);
    await one.clock.run(100);
    const author = owner(one, here);
    one.browser.diskFails = (window) => window === first;
    await one.clock.run(LEASE + 2 * OUTBOX_LOOK);
    expect([owner(one, here), owner(one, heir)]).toEqual([author, author]);
    one.server.down = false;
    await one.clock.run(120_000);
    expect([bodies(one), counts.get(key), one.server.violations]).toEqual([['mine'], 1, []]);
    // It is not taken for alive once it is gone.
    one.server.down = true;
    await one.clock.run(60_000);
    here.send(one.tea.id, 'left behind', null);
    await one.clock.run(2_000);
    await ended(scene);
    expect(bodies(one)).toEqual(['mine', 'left behind']);
    await heir.stop(false);
  });

  it('a window that stood still does not send what another one took over meanwhile', async () => {
    let stands = false;
    let late: (() => void)[] = [];
    const scene = await two((window) => {
      const { clock, openChannel } = window.env;
      const { after } = clock;
      clock.after = (ms, call) => after(ms, () => void (stands ? late.push(call) : call()));
      window.env.openChannel = (name) => {
        const channel = openChannel(name);
        // What is said while it stands still is lost.
        return {
          postMessage: (message) => channel.postMessage(message),
          get onmessage() {
            return channel.onmessage;
          },
          set onmessage(heard) {
            channel.onmessage = (message) => void (stands || heard?.(message));
          },
          close: () => channel.close(),
        };
      };
    }, false);
    const { one, here, heir } = scene;
    here.send(one.tea.id, 'taken over', null);
    await one.clock.run(100);
    const author = owner(one, here);
    stands = true;
    await one.clock.run(LEASE + 2 * OUTBOX_LOOK);
    expect(owner(one, heir)).not.toBe(author);
    // The server is there again, and takes nothing for a while.
    let asked = 0;
    one.server.refuses = (what) => {
      if (what !== 'send') return null;
      asked += 1;
      return { code: 'busy', detail: 'later', retry_after_ms: 60_000 };
    };
    one.server.down = false;
    stands = false;
    for (const call of late.splice(0)) call();
    for (const engine of [here, heir]) engine.wake();
    await one.clock.run(5_000);
    expect(here.connection.state).toBe('online');
    expect([owner(one, here), asked]).toEqual([owner(one, heir), 1]);
    one.server.refuses = () => null;
    await one.clock.run(120_000);
    expect([bodies(one), one.server.violations]).toEqual([['taken over'], []]);
    for (const engine of [here, heir]) {
      expect(engine.pending(one.tea.id)).toEqual([]);
      await engine.stop(false);
    }
  });

  it('a window sends also what another one left behind that ended, although no disk works or there is none', async () => {
    for (const exists of [true, false]) {
      const one = new One(undefined, false);
      const windows = [one.window, one.browser.open(), one.browser.open()];
      one.browser.diskFails = () => true;
      if (!exists) {
        for (const { env } of windows) Object.assign(env, { indexedDb: null, locks: new Leases(null, env.clock, env.uuid) });
      }
      const engines = windows.map((window) => one.begin(window));
      const [ends, ...heirs] = engines as [Engine, Engine, Engine];
      for (const engine of engines) engine.start();
      await one.clock.run(30_000);
      one.server.down = true;
      await one.clock.run(60_000);
      const author = heirs[0].send(one.tea.id, 'waits', null);
      ends.send(one.tea.id, 'left behind', null);
      await one.clock.run(2_000);
      one.window.kill();
      await one.clock.run(90_000);
      const mine = heirs[0].pending(one.tea.id).find((pending) => pending.stored.key === author)?.stored;
      expect(mine?.owner).toBe(mine?.origin);
      one.server.down = false;
      await one.clock.run(120_000);
      expect(bodies(one).sort()).toEqual(['left behind', 'waits']);
      expect(one.server.violations).toEqual([]);
      for (const engine of heirs) {
        expect(engine.outbox.unsent).toBe(0);
        await engine.stop(false);
      }
    }
  });

  it('everything is sent although no disk works, and only by who wrote it', async () => {
    const one = new One(undefined, false);
    one.browser.diskFails = () => true;
    const other = one.begin(one.browser.open());
    const counts = counted(one);
    for (const engine of [one.engine, other]) engine.start();
    await one.clock.run(30_000);
    const keys = [one.engine, other].map((engine) => engine.send(one.tea.id, 'said', null));
    await one.clock.run(120_000);
    expect(keys.map((key) => counts.get(key))).toEqual([1, 1]);
    for (const engine of [one.engine, other]) {
      expect(engine.outbox.unsent).toBe(0);
      await engine.stop(false);
    }
  });
});
