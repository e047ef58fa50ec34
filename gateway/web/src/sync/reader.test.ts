// Whoever reads an active room far up keeps what they read, and gets to its first message and back.
import { describe, expect, it } from 'vitest';
import { GAP_EVENTS_MAX, ITEMS_KEPT, ITEMS_MAX } from './limits.ts';
import type { Room } from './room.ts';
import { One } from './testkit/one.ts';
import { foldedLog, plain } from './testkit/oracle.ts';
import type { Timeline } from './timeline.ts';

/** Ann has the room open. */
async function opened(messages: number): Promise<{ one: One; room: Room; timeline: Timeline }> {
  const one = new One();
  one.say(messages);
  one.engine.start();
  await one.clock.run(2_000);
  const room = await one.engine.open(one.tea.id);
  await one.clock.run(2_000);
  const { timeline } = room;
  if (timeline === null) throw new Error('it is not open');
  return { one, room, timeline };
}

/** What is shown is what the server holds there, without holes. */
function expectTruth(one: One, timeline: Timeline): void {
  const truth = foldedLog(one.tea.log).filter((entry) => entry.seq >= timeline.lo && entry.seq <= timeline.hi);
  expect(timeline.entries.map((shown) => plain(shown.entry))).toEqual(truth.map(plain));
}

describe('a reader far up in an active room', () => {
  it('gets to the first message while others write, and back to the newest', async () => {
    const { one, room, timeline } = await opened(ITEMS_MAX + 500);
    for (let page = 0; timeline.hasOlder && page < 200; page += 1) {
      timeline.reader = timeline.lo;
      const before = timeline.at(timeline.lo);
      void one.engine.history.older(room);
      one.say(1);
      await one.clock.run(100);
      expect(timeline.at(before?.entry.seq ?? 0)?.entry).toBe(before?.entry);
      expect(timeline.entries.length).toBeLessThanOrEqual(ITEMS_MAX);
    }
    expect(timeline.lo).toBe(1);
    expect(timeline.atHead).toBe(false);
    expectTruth(one, timeline);
    // Down again by pages, for a while.
    for (let page = 0; page < 20; page += 1) {
      timeline.reader = timeline.hi;
      void one.engine.history.newer(room);
      one.say(1);
      await one.clock.run(100);
      expect(timeline.at(timeline.reader)).not.toBeNull();
      expect(timeline.entries.length).toBeLessThanOrEqual(ITEMS_MAX);
    }
    expectTruth(one, timeline);
    void one.engine.history.latest(room);
    await one.clock.run(100);
    timeline.reader = null;
    one.say(10);
    await one.clock.run(100);
    expect([timeline.atHead, timeline.hi]).toEqual([true, one.tea.log.length]);
    expectTruth(one, timeline);
    await one.engine.stop(false);
  });

  it('keeps every message around, also in the middle, when the bound is reached', async () => {
    const { one, timeline } = await opened(10);
    timeline.reader = 1;
    one.say(ITEMS_MAX + 5);
    await one.clock.run(10_000);
    expect(timeline.at(1)).not.toBeNull();
    expect([timeline.entries.length, timeline.atHead]).toEqual([ITEMS_KEPT, false]);
    await one.engine.stop(false);
  });

  it('loses the oldest only at the newest end', async () => {
    const { one, timeline } = await opened(10);
    one.say(ITEMS_MAX + 5);
    await one.clock.run(10_000);
    expect([timeline.hi, timeline.atHead]).toEqual([one.tea.log.length, true]);
    expect(timeline.entries.length).toBeLessThanOrEqual(ITEMS_MAX);
    await one.engine.stop(false);
  });

  it('keeps what is read after a gap that is too long to be filled, and sees what became of it', async () => {
    const { one, room, timeline } = await opened(500);
    for (let page = 0; page < 3; page += 1) {
      void one.engine.history.older(room);
      await one.clock.run(100);
    }
    const reader = timeline.lo + 40;
    timeline.reader = reader;
    // The socket is away while much is said.
    one.server.down = true;
    await one.clock.run(60_000);
    one.say(GAP_EVENTS_MAX + 50);
    one.server.commit(one.tea, one.bob, 'edit', { type: 'edit', target: reader, body: 'edited' });
    one.server.commit(one.tea, one.bob, 'delete', { type: 'delete', target: reader + 1 });
    one.server.down = false;
    let gone = false;
    for (let step = 0; step < 1_000; step += 1) {
      await one.clock.run(100);
      gone ||= timeline.at(reader) === null;
    }
    expect(gone).toBe(false);
    expect([timeline.stale, timeline.at(reader)?.entry.body]).toEqual([false, 'edited']);
    expect(timeline.at(reader + 1)?.entry.deleted).toBeDefined();
    expect(timeline.lo).toBeLessThan(reader - 30);
    expectTruth(one, timeline);
    void one.engine.history.latest(room);
    await one.clock.run(100);
    expect(timeline.atHead).toBe(true);
    expectTruth(one, timeline);
    await one.engine.stop(false);
  });

  it('has what is stale read again, and not page after page asked for, when a list wants newer ones', async () => {
    const { one, room, timeline } = await opened(500);
    timeline.reader = timeline.lo + 40;
    const { reader } = timeline;
    timeline.skip(timeline.hi);
    const asked = one.engine.history.newer(room);
    await one.clock.run(1_000);
    await asked;
    expect([timeline.stale, timeline.at(reader) !== null]).toEqual([false, true]);
    expectTruth(one, timeline);
    await one.engine.stop(false);
  });

  it('hears of it when what is stale cannot be read again', async () => {
    const { one, room, timeline } = await opened(500);
    timeline.reader = timeline.lo + 40;
    timeline.skip(timeline.hi);
    const page = one.server.page(one.tea, { after: 0, limit: 1 });
    one.server.page = () => page;
    const asked = one.engine.history.newer(room).catch((error: unknown) => error);
    await one.clock.run(1_000);
    expect(await asked).toMatchObject({ code: 'unavailable' });
    await one.engine.stop(false);
  });

  it('has what is stale read again also where many entries of unknown kinds are before it', async () => {
    const { one, room, timeline } = await opened(150);
    for (let count = 0; count < 400; count += 1) one.server.novelty(one.tea, one.bob);
    one.say(20);
    await one.clock.run(1_000);
    for (let page = 0; page < 3; page += 1) {
      void one.engine.history.older(room);
      await one.clock.run(100);
    }
    const reader = timeline.hi - 10;
    timeline.reader = reader;
    timeline.skip(timeline.hi);
    const asked = one.engine.history.renew(room).catch((error: unknown) => error);
    await one.clock.run(1_000);
    expect([await asked, timeline.stale, timeline.at(reader) !== null]).toEqual([undefined, false, true]);
    await one.engine.stop(false);
  });
});
