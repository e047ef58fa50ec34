import { expect, it } from 'vitest';
import { Gather } from './gather.ts';
import { REFRESH_GATHER, REFRESH_GATHER_MAX } from './limits.ts';
import { FakeClock } from './testkit/clock.ts';

/** Reads a number that changes, which takes a while. */
function reader(clock: FakeClock): { gather: Gather; reads: number[]; world: { value: number; fails: boolean } } {
  const world = { value: 0, fails: false };
  const reads: number[] = [];
  const gather = new Gather(clock, async () => {
    const seen = world.value;
    await new Promise<void>((resolve) => clock.after(30, resolve));
    if (world.fails) throw new Error('away');
    reads.push(seen);
  });
  return { gather, reads, world };
}

it('reads once for a burst, and the last of it is not left out', async () => {
  const clock = new FakeClock();
  const { gather, reads, world } = reader(clock);
  for (let event = 1; event <= 100; event += 1) {
    world.value = event;
    gather.ask();
    await clock.run(1);
  }
  await clock.run(10_000);
  expect(reads).toEqual([100]);
});

it('reads less and less often while events go on, and at once again after a rest', async () => {
  const clock = new FakeClock();
  const { gather, reads, world } = reader(clock);
  for (let event = 1; event <= 600; event += 1) {
    world.value = event;
    gather.ask();
    await clock.run(100);
  }
  await clock.run(10_000);
  expect(reads.at(-1)).toBe(600);
  expect(reads.length).toBeLessThanOrEqual(5 + 60_000 / REFRESH_GATHER_MAX);
  world.value = 601;
  gather.ask();
  await clock.run(REFRESH_GATHER + 30);
  expect(reads.at(-1)).toBe(601);
});

it('reads again what changed while it was being read, and never twice at once', async () => {
  const clock = new FakeClock();
  const { gather, reads, world } = reader(clock);
  const first = gather.now();
  await clock.run(10);
  world.value = 1;
  gather.ask();
  expect(gather.now()).toBe(first);
  await clock.run(30);
  await first;
  expect(reads).toEqual([0]);
  await clock.run(10_000);
  expect(reads).toEqual([0, 1]);
});

it('tells who waits of a failure, and goes on after it', async () => {
  const clock = new FakeClock();
  const { gather, reads, world } = reader(clock);
  world.fails = true;
  const told = gather.now().catch((error: unknown) => error);
  await clock.run(100);
  expect(await told).toMatchObject({ message: 'away' });
  gather.ask();
  await clock.run(10_000);
  world.fails = false;
  gather.ask();
  await clock.run(10_000);
  expect(reads).toEqual([0]);
  gather.ask();
  gather.close();
  await clock.run(10_000);
  expect(reads).toEqual([0]);
});
