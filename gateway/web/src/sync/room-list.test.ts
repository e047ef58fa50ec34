// Answers about rooms that were on their way when the user's membership changed.
import { describe, expect, it } from 'vitest';
import { One } from './testkit/one.ts';
import type { Room } from './wire.ts';

/** What is said of a room by itself is read at once, and comes half a second later. */
async function begun(): Promise<One> {
  const one = new One((server) => ({
    fetch: async (window, path, init) => {
      const answer = await server.fetch(window, path, init);
      if (/^\/api\/rooms\/[^/?]+$/.test(path)) await new Promise<void>((resolve) => server.clock.after(500, resolve));
      return answer;
    },
  }));
  one.engine.start();
  await one.clock.run(5_000);
  return one;
}

describe('the list of rooms', () => {
  it('has no room that the user was removed from while it was read', async () => {
    const one = await begun();
    const oats = one.server.room('oats', [one.bob]);
    one.server.join(oats, one.ann);
    await one.clock.run(100);
    one.server.leave(oats, one.ann);
    await one.clock.run(10_000);
    expect([...one.engine.list.rooms.keys()]).toEqual([one.tea.id]);
    // And has it when the user was removed and added again meanwhile.
    one.server.join(oats, one.ann);
    await one.clock.run(100);
    one.server.leave(oats, one.ann);
    await one.clock.run(100);
    one.server.join(oats, one.ann);
    await one.clock.run(10_000);
    expect([...one.engine.list.rooms.keys()]).toEqual([one.tea.id, oats.id]);
    expect(one.engine.room(oats.id)?.role).toBe('member');
    await one.engine.stop(false);
  });

  it('says so to whoever opens such a room', async () => {
    const one = await begun();
    const oats = one.server.room('oats', [one.ann]);
    const opening = one.engine.open(oats.id).catch((error: unknown) => error);
    await one.clock.run(100);
    one.server.leave(oats, one.ann);
    await one.clock.run(10_000);
    expect(await opening).toMatchObject({ code: 'not_found' });
    expect(one.engine.room(oats.id)).toBeNull();
    await one.engine.stop(false);
  });

  it('keeps a role that was given while the room was read', async () => {
    const one = await begun();
    const room = one.engine.room(one.tea.id);
    if (room === null) throw new Error('it is not in the list');
    const ways: (() => unknown)[] = [() => one.engine.list.summarise(room), () => one.engine.list.fetch(room.id)];
    for (const ask of ways) {
      one.engine.list.membership(room.id, 'member');
      ask();
      await one.clock.run(400);
      one.server.tell(one.ann.id, { room: { id: room.id, role: 'owner' satisfies Room['role'] } });
      await one.clock.run(5_000);
      expect(room.role).toBe('owner');
    }
    await one.engine.stop(false);
  });

  it('asks for a count again after a long time without a network', async () => {
    let away = false;
    let answers = 0;
    const one = new One((server) => ({
      fetch: async (window, path, init) => {
        if (!/^\/api\/rooms\/[^/?]+$/.test(path)) return await server.fetch(window, path, init);
        if (away) throw new TypeError('no network');
        answers += 1;
        return await server.fetch(window, path, init);
      },
    }));
    one.engine.start();
    await one.clock.run(5_000);
    const room = one.engine.room(one.tea.id);
    if (room === null) throw new Error('it is not in the list');
    away = true;
    one.engine.list.summarise(room);
    await one.clock.run(20 * 60_000);
    expect(answers).toBe(0);
    away = false;
    await one.clock.run(60_000);
    expect(answers).toBe(1);
    await one.engine.stop(false);
  });
});
