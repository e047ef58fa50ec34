// Rooms at which the server fails: by itself, or because a person asks, they are there again afterwards.
import { describe, expect, it } from 'vitest';
import { BACK_OFF_MAX, INTERNAL_TRIES } from './limits.ts';
import { One } from './testkit/one.ts';

const DEFECT = { code: 'internal', detail: 'a defect' };

describe('a room at which the server fails', () => {
  it('is opened by one more try after its first page was refused', async () => {
    const one = new One();
    one.say(5);
    let asked = 0;
    let fails = true;
    one.server.refuses = (what) => {
      if (what === 'history') asked += 1;
      return what === 'history' && fails ? DEFECT : null;
    };
    one.engine.start();
    await one.clock.run(2_000);
    const room = await one.engine.open(one.tea.id);
    await one.clock.run(10_000);
    expect([room.fault, room.error, room.timeline?.loaded]).toEqual(['a defect', null, false]);
    expect(asked).toBe(INTERNAL_TRIES);
    fails = false;
    one.engine.retry(room.id);
    expect(room.fault).toBeNull();
    await one.engine.open(room.id);
    await one.clock.run(2_000);
    expect([room.fault, room.timeline?.entries.length]).toEqual([null, 5]);
    await one.engine.stop(false);
  });

  it('is opened by itself when the defect passes at once, or with the next socket', async () => {
    const one = new One();
    one.say(5);
    let failures = 1;
    one.server.refuses = (what) => (what === 'history' && failures-- > 0 ? DEFECT : null);
    one.engine.start();
    await one.clock.run(2_000);
    const room = await one.engine.open(one.tea.id);
    await one.clock.run(5_000);
    expect([room.fault, room.timeline?.entries.length]).toEqual([null, 5]);
    room.timeline = null;
    failures = INTERNAL_TRIES;
    await one.engine.open(one.tea.id);
    await one.clock.run(10_000);
    expect(room.fault).toBe('a defect');
    one.engine.connection.drop('a test');
    await one.clock.run(10_000);
    expect([room.fault, one.engine.room(room.id)?.timeline?.loaded]).toEqual([null, true]);
    await one.engine.stop(false);
  });

  it('is followed again, asked ever more seldom', async () => {
    const one = new One();
    one.say(5);
    let asked = 0;
    let fails = true;
    one.server.refuses = (what) => {
      if (what === 'subscribe') asked += 1;
      return what === 'subscribe' && fails ? DEFECT : null;
    };
    one.engine.start();
    await one.clock.run(5 * 60_000);
    const room = await one.engine.open(one.tea.id);
    expect(room.error).toBeNull();
    expect(asked).toBeGreaterThan(5);
    expect(asked).toBeLessThan(20);
    fails = false;
    await one.clock.run(BACK_OFF_MAX);
    one.say(1);
    await one.clock.run(2_000);
    expect(room.timeline?.hi).toBe(6);
    await one.engine.stop(false);
  });

  it('is followed on the next socket when the last one ended while rooms were asked for', async () => {
    const one = new One();
    const oats = one.server.room('oats', [one.ann, one.bob]);
    one.say(5);
    one.engine.start();
    await one.clock.run(2_000);
    const [first, second] = [await one.engine.open(one.tea.id), await one.engine.open(oats.id)];
    await one.clock.run(2_000);
    const { connection } = one.engine;
    const request = connection.request.bind(connection);
    connection.request = (frame, answered, patience) => {
      // It is found dead at a write.
      if (frame.type === 'history') connection.drop('a test');
      connection.request = request;
      return request(frame, answered, patience);
    };
    first.feed.missed(first.head + 1);
    second.asked = false;
    await one.engine.open(first.id);
    await one.clock.run(5_000);
    one.say(1);
    one.say(1, oats);
    await one.clock.run(2_000);
    expect([first.timeline?.hi, second.timeline?.hi]).toEqual([6, 1]);
    await one.engine.stop(false);
  });

  it('fills a gap whose page the server failed at', async () => {
    const one = new One();
    one.say(5);
    one.engine.start();
    await one.clock.run(2_000);
    const room = await one.engine.open(one.tea.id);
    await one.clock.run(2_000);
    one.server.down = true;
    await one.clock.run(60_000);
    one.say(50);
    let failures = 4;
    one.server.refuses = (what) => (what === 'history' && failures-- > 0 ? DEFECT : null);
    one.server.down = false;
    await one.clock.run(2 * BACK_OFF_MAX);
    expect([room.error, failures < 0, room.timeline?.entries.length]).toEqual([null, true, 55]);
    await one.engine.stop(false);
  });
});
