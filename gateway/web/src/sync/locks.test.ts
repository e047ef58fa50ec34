import { IDBFactory } from 'fake-indexeddb';
import { describe, expect, it } from 'vitest';
import { LEASE, LEASE_POLL, LEASE_TRIES } from './limits.ts';
import { Leases } from './locks.ts';
import { FakeBrowser, type Network } from './testkit/browser.ts';
import { FakeClock } from './testkit/clock.ts';

function leases(count: number): { clock: FakeClock; of: Leases[] } {
  const clock = new FakeClock();
  const factory = new IDBFactory();
  let ids = 0;
  const of = Array.from({ length: count }, () => new Leases(factory, clock, () => `holder-${++ids}`));
  return { clock, of };
}

describe('leases, where the browser has no locks', () => {
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
    void one.hold('x').then((give) => (release = give));
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
    const clock = new FakeClock();
    const network: Network = { openSocket: () => null as never, fetch: () => Promise.reject(new Error('no network')) };
    const browser = new FakeBrowser('x', clock, () => 0.5, network, false);
    let fails = false;
    browser.diskFails = () => fails;
    const [one, other] = [browser.open().env.locks, browser.open().env.locks];
    void one.hold('x');
    await clock.run(10);
    let got = false;
    fails = true;
    void other.run('x', () => Promise.resolve((got = true)));
    await clock.run(LEASE_POLL);
    fails = false;
    await clock.run(2 * LEASE);
    expect(got).toBe(false);
    // One that fails for good gives no leases at all.
    fails = true;
    await clock.run((LEASE_TRIES + 1) * LEASE_POLL);
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
