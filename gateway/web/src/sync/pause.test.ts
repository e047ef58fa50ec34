// Nothing is asked for before the time that the server named, whoever wakes the page; a person may.
import { describe, expect, it } from 'vitest';
import { RETRY_SPREAD } from './limits.ts';
import { One } from './testkit/one.ts';

/** Ann is connected, and her sockets are counted. */
async function online(): Promise<{ one: One; opened: number[] }> {
  const opened: number[] = [];
  const one = new One((server) => ({
    openSocket: (window) => {
      opened.push(server.clock.now());
      return server.openSocket(window);
    },
  }));
  one.engine.start();
  await one.clock.run(2_000);
  opened.length = 0;
  return { one, opened };
}

function bye(one: One, retryAfterMs?: number): void {
  for (const socket of one.server.sockets) socket.bye(4005, 'going_away', retryAfterMs);
}

describe('the connection', () => {
  it('keeps the time that a goodbye names when the page wakes', async () => {
    const { one, opened } = await online();
    const begun = one.clock.now();
    bye(one, 20_000);
    for (let second = 0; second < 19; second += 1) {
      await one.clock.run(1_000);
      one.engine.connection.wake();
    }
    expect(opened).toEqual([]);
    expect(one.engine.connection.state).toBe('waiting');
    await one.clock.run(1_100);
    expect(opened).toHaveLength(1);
    expect((opened[0] ?? 0) - begun).toBeGreaterThanOrEqual(20_000);
    expect((opened[0] ?? 0) - begun).toBeLessThan(20_000 + RETRY_SPREAD);
    await one.engine.stop(false);
  });

  it('ends a pause of its own when the page wakes, and any when a person says so', async () => {
    const { one, opened } = await online();
    // So that it has failed often, and rests for long.
    one.server.down = true;
    await one.clock.run(5 * 60_000);
    while (one.engine.connection.state !== 'waiting') await one.clock.run(100);
    one.server.down = false;
    opened.length = 0;
    one.engine.connection.wake();
    await one.clock.run(200);
    expect(opened).toHaveLength(1);
    await one.clock.run(1_000);
    bye(one, 20_000);
    await one.clock.run(1_000);
    one.engine.connection.start();
    await one.clock.run(1_000);
    expect(opened).toHaveLength(1);
    one.engine.connection.retryNow();
    await one.clock.run(1_000);
    expect(opened).toHaveLength(2);
    await one.engine.stop(false);
  });
});

describe('the list of rooms', () => {
  it('is not read before the time that the server named, not with a new socket either', async () => {
    let refuses = false;
    const reads: number[] = [];
    const one = new One((server) => ({
      fetch: async (window, path, init) => {
        if (!path.startsWith('/api/rooms?')) return await server.fetch(window, path, init);
        reads.push(server.clock.now());
        const body = { code: 'rate_limited', detail: 'slowly', retry_after_ms: 30_000 };
        return refuses ? Response.json(body, { status: 429 }) : await server.fetch(window, path, init);
      },
    }));
    one.engine.start();
    await one.clock.run(2_000);
    refuses = true;
    one.engine.list.refresh();
    await one.clock.run(100);
    reads.length = 0;
    const begun = one.clock.now();
    for (let time = 0; time < 3; time += 1) {
      // Something of the user's feed is missed, so that the next welcome wants the list.
      one.server.revs.set(one.ann.id, 100 + time);
      one.engine.connection.drop('a test');
      one.engine.list.refresh();
      await one.clock.run(5_000);
    }
    expect(reads).toEqual([]);
    refuses = false;
    await one.clock.run(30_000);
    expect(reads.length).toBeGreaterThan(0);
    expect((reads[0] ?? 0) - begun).toBeGreaterThanOrEqual(29_000);
    await one.engine.stop(false);
  });

  it('asks for one summary at once while another one rests', async () => {
    const asked: string[] = [];
    const one = new One((server) => ({
      fetch: async (window, path, init) => {
        const room = /^\/api\/rooms\/([^/?]+)$/.exec(path)?.[1];
        if (room !== undefined) asked.push(room);
        const body = { code: 'rate_limited', detail: 'slowly', retry_after_ms: 30_000 };
        return room === 'room-tea' ? Response.json(body, { status: 429 }) : await server.fetch(window, path, init);
      },
    }));
    const oats = one.server.room('oats', [one.ann, one.bob]);
    one.engine.start();
    await one.clock.run(5_000);
    asked.length = 0;
    const [rested, other] = [one.engine.room(one.tea.id), one.engine.room(oats.id)];
    if (rested === null || other === null) throw new Error('two rooms');
    one.engine.list.summarise(rested);
    await one.clock.run(1_000);
    one.engine.list.summarise(other);
    await one.clock.run(2_000);
    expect(asked).toEqual(['room-tea', 'room-oats']);
    await one.clock.run(60_000);
    expect(asked.filter((room) => room === 'room-tea').length).toBeGreaterThan(1);
    expect(asked.filter((room) => room === 'room-tea').length).toBeLessThan(4);
    await one.engine.stop(false);
  });
});

it('does not connect without end while another window holds the sign-in', async () => {
  const { one } = await online();
  const lock = await one.browser.open().env.locks.hold('parlance/renew');
  for (const socket of one.server.sockets) socket.bye(4001, 'unauthenticated');
  await one.clock.run(1_000);
  expect(one.engine.connection.state).toBe('connecting');
  const states = new Set<string>();
  for (let step = 0; step < 1_200; step += 1) {
    await one.clock.run(50);
    states.add(one.engine.connection.state);
  }
  // It gives up, says so, and comes again by itself.
  expect([...states]).toContain('waiting');
  lock.release();
  await one.clock.run(60_000);
  expect(one.engine.connection.state).toBe('online');
  await one.engine.stop(false);
});
