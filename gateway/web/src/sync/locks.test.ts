import { IDBFactory } from 'fake-indexeddb';
import { describe, expect, it } from 'vitest';
import { DISK_WAIT, LEASE, LEASE_MARGIN, LEASE_POLL, LEASE_RENEW, LEASE_TRIES } from './limits.ts';
import { Leases, type Lock, type Locks, NoLock } from './locks.ts';
import { FakeBrowser, type Network, STUCK } from './testkit/browser.ts';
import { FakeClock } from './testkit/clock.ts';

function leases(count: number): { clock: FakeClock; of: Leases[] } {
  const clock = new FakeClock();
  const factory = new IDBFactory();
  let ids = 0;
  const of = Array.from({ length: count }, () => new Leases(factory, clock, () => `holder-${++ids}`));
  return { clock, of };
}

/** A browser whose disk can fail. */
function failing(): { clock: FakeClock; browser: FakeBrowser } {
  const clock = new FakeClock();
  const network: Network = { openSocket: () => null as never, fetch: () => Promise.reject(new Error('no network')) };
  return { clock, browser: new FakeBrowser('x', clock, () => 0.5, network, false) };
}

const heldBy = (lock: Lock | null): Lock | null => lock;
const isHeld = (lock: Lock | null): boolean => lock?.isHeld ?? false;

describe('leases, where the browser has no locks', () => {
  it('are none where the database does not answer, and nobody waits for it', async () => {
    const clock = new FakeClock();
    const stuck = new Leases(STUCK, clock, () => 'holder');
    const told = stuck.run('x', () => Promise.resolve('worked')).catch((error: unknown) => error);
    let lock: Lock | null = null;
    void stuck.hold('y').then((held) => (lock = held));
    await clock.run(DISK_WAIT);
    expect(await told).toBeInstanceOf(NoLock);
    expect([lock !== null, isHeld(lock)]).toEqual([true, false]);
  });

  it('let one work at a time', async () => {
    const { clock, of } = leases(3);
    const log: string[] = [];
    let inside = 0;
    for (const [index, lease] of of.entries()) {
      void lease.run('x', async () => {
        inside += 1;
        log.push(`${index}: ${inside}`);
        await new Promise<void>((resolve) => clock.after(500, resolve));
        inside -= 1;
      });
    }
    await clock.run(10 * LEASE_POLL);
    expect(log).toHaveLength(3);
    expect(log.every((line) => line.endsWith(': 1'))).toBe(true);
  });

  it('are held for as long as they are renewed, and free at once when given back', async () => {
    const { clock, of } = leases(2);
    const [one, other] = of as [Leases, Leases];
    let release = (): void => {};
    void one.hold('x').then((lock) => (release = () => lock.release()));
    await clock.run(10);
    let got = false;
    void other.run('x', () => Promise.resolve((got = true)));
    await clock.run(5 * LEASE);
    expect(got).toBe(false);
    release();
    await clock.run(2 * LEASE_POLL);
    expect(got).toBe(true);
  });

  it('are not given by a database that fails once', async () => {
    const { clock, browser } = failing();
    let fails = false;
    browser.diskFails = () => fails;
    const [one, other] = [browser.open().env.locks, browser.open().env.locks];
    void one.hold('x');
    await clock.run(10);
    let got = false;
    fails = true;
    other.run('x', () => Promise.resolve((got = true))).catch(() => {});
    await clock.run(LEASE_POLL);
    fails = false;
    await clock.run(2 * LEASE);
    expect(got).toBe(false);
  });

  it('are given to nobody by a database that fails for everybody', async () => {
    const { clock, browser } = failing();
    const [one, other] = [browser.open().env.locks, browser.open().env.locks];
    browser.diskFails = () => true;
    const got: string[] = [];
    const tell = (who: string, locks: Locks): Promise<unknown> =>
      locks.run('x', () => Promise.resolve(got.push(who))).catch((error: unknown) => error);
    const ends = [tell('one', one), tell('other', other)];
    let held: Lock | null = null;
    void one.hold('y').then((lock) => (held = lock));
    await clock.run((LEASE_TRIES + 1) * LEASE_POLL);
    expect((await Promise.all(ends)).every((end) => end instanceof NoLock)).toBe(true);
    expect(got).toEqual([]);
    expect(isHeld(held)).toBe(false);
    // Who wanted to hold one has it once that works.
    browser.diskFails = () => false;
    await clock.run(LEASE_RENEW + LEASE_POLL);
    expect(isHeld(held)).toBe(true);
  });

  it('are lost for a holder that cannot renew before another gets them, also when no timer fires in time', async () => {
    for (const fires of [true, false]) {
      const { clock, browser } = failing();
      const [first, second] = [browser.open(), browser.open()];
      const { env } = first;
      // A window that nobody sees: its timers stand still from now on, and its disk fails.
      let stands = false;
      const slow = { now: () => clock.now(), after: (ms: number, call: () => void) => clock.after(ms, () => void (stands || call())) };
      const leases = new Leases(env.indexedDb, slow, env.uuid);
      let held: Lock | null = null;
      void leases.hold('x').then((lock) => (held = lock));
      await clock.run(10);
      expect(isHeld(held)).toBe(true);
      stands = !fires;
      browser.diskFails = (window) => window === first;
      let heldThen: boolean | null = null;
      let since = 0;
      void second.env.locks.run('x', () => Promise.resolve((heldThen = isHeld(held))));
      for (let step = 0; step < 400 && heldThen === null; step += 1) {
        await clock.run(100);
        if (since === 0 && !isHeld(held)) since = clock.now();
      }
      expect(heldThen).toBe(false);
      expect(clock.now() - since).toBeGreaterThanOrEqual(LEASE_MARGIN - 100);
      expect(heldBy(held)?.lost.aborted).toBe(fires);
    }
  });

  it('are as free for others as they are lost for the holder when the clock is set back', async () => {
    const clock = new FakeClock();
    let ahead = 3_600_000;
    const set = { now: () => clock.now() + ahead, after: (ms: number, call: () => void) => clock.after(ms, call) };
    const factory = new IDBFactory();
    const standing = { now: set.now, after: () => () => {} };
    let held: Lock | null = null;
    void new Leases(factory, standing, () => 'holder').hold('x').then((lock) => (held = lock));
    await clock.run(10);
    expect(isHeld(held)).toBe(true);
    ahead = 0;
    expect(isHeld(held)).toBe(false);
    let got = false;
    void new Leases(factory, set, () => 'heir').run('x', () => Promise.resolve((got = true)));
    await clock.run(2 * LEASE_POLL);
    expect(got).toBe(true);
  });

  it('run out with a holder that is gone', async () => {
    const clock = new FakeClock();
    const factory = new IDBFactory();
    const dead = { now: () => clock.now(), after: () => () => {} };
    await new Leases(factory, dead, () => 'dead').hold('x');
    let got = false;
    void new Leases(factory, clock, () => 'heir').run('x', () => Promise.resolve((got = true)));
    await clock.run(LEASE - LEASE_POLL);
    expect(got).toBe(false);
    await clock.run(2 * LEASE_POLL);
    expect(got).toBe(true);
  });

  it('stop waiting when they are told to', async () => {
    const { clock, of } = leases(2);
    const [one, other] = of as [Leases, Leases];
    void one.hold('x');
    await clock.run(10);
    const abort = new AbortController();
    const waiting = other.run('x', () => Promise.resolve('got'), abort.signal).catch(() => 'gave up');
    await clock.run(10);
    abort.abort();
    await clock.run(2 * LEASE_POLL);
    expect(await waiting).toBe('gave up');
  });
});
