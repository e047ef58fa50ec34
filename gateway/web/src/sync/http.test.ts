import { describe, expect, it } from 'vitest';
import { CookieCredential } from './credential.ts';
import { Http, retryAfterOf } from './http.ts';
import { LEASE, LEASE_MARGIN, RENEW_LOCK_WAIT, WORD } from './limits.ts';
import { Leases } from './locks.ts';
import type { Refusal } from './refusal.ts';
import { FakeBrowser, type Network, STUCK } from './testkit/browser.ts';
import { FakeClock } from './testkit/clock.ts';
import { uuid4 } from './env.ts';

type Answer = (path: string, init: RequestInit) => Response;

function browser(answer: Answer, hasLocks = true): { browser: FakeBrowser; calls: string[]; clock: FakeClock } {
  const clock = new FakeClock();
  const calls: string[] = [];
  const network: Network = {
    openSocket: () => {
      throw new Error('no sockets here');
    },
    fetch: async (_window, path, init) => {
      await new Promise<void>((resolve) => clock.after(10, resolve));
      calls.push(`${init.method} ${path}`);
      return answer(path, init);
    },
  };
  return { browser: new FakeBrowser('x', clock, () => 0.5, network, hasLocks), calls, clock };
}

const refused = (status: number, code: string, headers = {}): Response =>
  Response.json({ code, detail: 'no' }, { status, headers });

describe('calls over HTTP', () => {
  it('carry the header that other sites cannot send', async () => {
    const seen: unknown[] = [];
    const { browser: of, clock } = browser((_path, init) => {
      seen.push(init.headers);
      return Response.json({});
    });
    const { env } = of.open();
    void new Http(env, new CookieCredential(env)).call('POST', '/x', { a: 1 });
    await clock.run(100);
    expect(seen).toEqual([{ 'x-parlance-client': 'web', 'content-type': 'application/json' }]);
  });

  it('renew the sign-in once, by one window for all, and are made again', async () => {
    let valid = false;
    const { browser: of, calls, clock } = browser((path) => {
      if (path === '/api/auth/refresh') {
        valid = true;
        return Response.json({});
      }
      return valid ? Response.json({ path }) : refused(401, 'unauthenticated');
    });
    const windows = [of.open(), of.open()].map(({ env }) => new Http(env, new CookieCredential(env)));
    const answers = windows.flatMap((http) => [http.call('GET', '/a'), http.call('GET', '/b')]);
    await clock.run(1_000);
    expect(await Promise.all(answers)).toEqual([{ path: '/a' }, { path: '/b' }, { path: '/a' }, { path: '/b' }]);
    expect(calls.filter((call) => call.includes('refresh'))).toHaveLength(1);
  });

  it('say so when the sign-in is over, and do not when the server is only away', async () => {
    let status = 401;
    const { browser: of, clock } = browser((path) =>
      path === '/api/auth/refresh' ? refused(status, status === 401 ? 'unauthenticated' : 'unavailable') : refused(401, 'unauthenticated'),
    );
    const { env } = of.open();
    const http = new Http(env, new CookieCredential(env));
    let over = 0;
    http.onOver = () => (over += 1);
    const first = http.call('GET', '/a').catch((error: unknown) => error);
    await clock.run(100);
    expect(await first).toMatchObject({ code: 'unauthenticated' });
    expect(over).toBe(1);
    status = 503;
    const second = http.call('GET', '/a').catch((error: unknown) => error);
    await clock.run(100);
    expect(await second).toMatchObject({ code: 'offline' });
    expect(over).toBe(1);
  });

  it('are not signed out by a password that is changed beside them', async () => {
    const clock = new FakeClock();
    // What the browser has in its cookies, and what the server takes. A cookie comes with the answer.
    let [jar, valid] = ['first', 'first'];
    let access = true;
    const later = (ms: number): Promise<void> => new Promise((resolve) => clock.after(ms, resolve));
    const network: Network = {
      openSocket: () => {
        throw new Error('no sockets here');
      },
      fetch: async (_window, path) => {
        const shown = jar;
        await later(10);
        if (path === '/api/auth/password') {
          if (!access) return refused(401, 'unauthenticated');
          valid = 'changed';
          await later(40);
          [jar, access] = [valid, true];
          return Response.json({ id: 'ann', username: 'ann', admin: false, expires_in: 900 });
        }
        if (path === '/api/auth/refresh') {
          if (shown !== valid) return refused(401, 'unauthenticated');
          [jar, access] = [valid, true];
          return Response.json({});
        }
        return access && shown === valid ? Response.json({ path }) : refused(401, 'unauthenticated');
      },
    };
    const both = new FakeBrowser('x', clock, () => 0.5, network);
    const [here, there] = [both.open(), both.open()].map(({ env }) => new Http(env, new CookieCredential(env)));
    if (here === undefined || there === undefined) throw new Error('two windows');
    let over = 0;
    here.onOver = there.onOver = () => (over += 1);
    // Also when the access token has run out just before.
    for (const isThere of [true, false]) {
      access = isThere;
      [jar, valid] = ['first', 'first'];
      const changed = here.changePassword('old', 'new');
      await clock.run(15);
      const other = there.call('GET', '/a');
      await clock.run(1_000);
      expect(await changed).toMatchObject({ username: 'ann' });
      expect(await other).toEqual({ path: '/a' });
    }
    expect([over, jar]).toEqual([0, 'changed']);
  });

  it('do not undo a sign-in or a sign-out by a renewal of another window that comes late', async () => {
    const clock = new FakeClock();
    // The browser's cookie; it comes, or goes, with the answer.
    let jar: string | null = 'first';
    const later = (ms: number): Promise<void> => new Promise((resolve) => clock.after(ms, resolve));
    const network: Network = {
      openSocket: () => {
        throw new Error('no sockets here');
      },
      fetch: async (_window, path) => {
        const shown = jar;
        if (path === '/api/auth/refresh') {
          await later(100);
          if (shown === null) return refused(401, 'unauthenticated');
          jar = `${shown}, renewed`;
          return Response.json({});
        }
        await later(10);
        if (path === '/api/auth/login') jar = 'second';
        if (path === '/api/auth/logout') jar = null;
        return Response.json({ id: 'ann', username: 'ann' });
      },
    };
    const both = new FakeBrowser('x', clock, () => 0.5, network);
    const [here, there] = [both.open(), both.open()].map(({ env }) => new CookieCredential(env));
    if (here === undefined || there === undefined) throw new Error('two windows');
    void there.refresh(clock.now());
    await clock.run(50);
    void here.signIn('ann', 'secret');
    await clock.run(1_000);
    expect(jar).toBe('second');
    void there.refresh(clock.now() + 1);
    await clock.run(50);
    void here.signOut();
    await clock.run(1_000);
    expect(jar).toBeNull();
  });

  it('do not wait without end for a window that renews and stands still', async () => {
    const { browser: of, calls, clock } = browser((path) =>
      path === '/a' && !calls.includes('POST /api/auth/refresh') ? refused(401, 'unauthenticated') : Response.json({ path }),
    );
    const lock = await of.open().env.locks.hold('parlance/renew');
    const http = new Http(of.open().env, new CookieCredential(of.open().env));
    const waiting = [http.call('GET', '/a'), http.credential.signIn('ann', 'x'), http.credential.signOut(), http.changePassword('x', 'y')];
    const ends = waiting.map((one) => one.then(() => 'done', (error: Refusal) => error.code));
    await clock.run(RENEW_LOCK_WAIT + 100);
    expect(await Promise.all(ends)).toEqual(['offline', 'offline', 'offline', 'offline']);
    expect(calls).toEqual(['GET /a']);
    // It is there again.
    lock.release();
    const again = http.call('GET', '/a');
    await clock.run(1_000);
    expect(await again).toEqual({ path: '/a' });
  });

  it('renew the sign-in also where no locks can be had, one window after the other, and sign nobody out', async () => {
    let [valid, at, most] = [false, 0, 0];
    const { browser: of, calls, clock } = browser((path) => {
      if (path !== '/api/auth/refresh') return valid ? Response.json({ path }) : refused(401, 'unauthenticated');
      valid = true;
      return Response.json({});
    }, false);
    const exchanged = of.network.fetch;
    of.network.fetch = async (window, path, init) => {
      if (path !== '/api/auth/refresh') return await exchanged(window, path, init);
      most = Math.max(most, (at += 1));
      await new Promise<void>((resolve) => clock.after(900, resolve));
      return await exchanged(window, path, init).finally(() => (at -= 1));
    };
    of.diskFails = () => true;
    const windows = [of.open(), of.open(), of.open()].map(({ env }) => new Http(env, new CookieCredential(env)));
    let over = 0;
    for (const http of windows) http.onOver = () => (over += 1);
    const answers = windows.map((http) => http.call('GET', '/a'));
    await clock.run(RENEW_LOCK_WAIT);
    expect(await Promise.all(answers)).toEqual(windows.map(() => ({ path: '/a' })));
    expect([over, most, calls.filter((call) => call.includes('refresh')).length]).toEqual([0, 1, 1]);
    // Without any database the same, and a window that ended in its turn holds the others up for a while only.
    valid = false;
    of.memory.set('parlance.renewing', `${clock.now() + WORD} another`);
    const { env } = of.open();
    env.locks = new Leases(null, env.clock, env.uuid);
    const http = new Http(env, new CookieCredential(env));
    const later = http.call('GET', '/b');
    await clock.run(WORD - 1_000);
    expect(valid).toBe(false);
    await clock.run(5_000);
    expect(await later).toEqual({ path: '/b' });
  });

  it('renew with a database that never answers', async () => {
    const { browser: of, clock } = browser(() => Response.json({}), false);
    const { env } = of.open();
    Object.assign(env, { indexedDb: STUCK, locks: new Leases(STUCK, env.clock, env.uuid) });
    const renewed = new CookieCredential(env).refresh(0);
    await clock.run(RENEW_LOCK_WAIT / 2);
    expect(await renewed).toBe('renewed');
  });

  it('stop with the sign-in when the lease for it is lost, and sign nobody out', async () => {
    const { browser: of, clock } = browser(() => refused(401, 'unauthenticated'), false);
    const window = of.open();
    const { network } = of;
    const exchanged = network.fetch;
    let stopped = 0;
    network.fetch = (from, path, init) => {
      if (path !== '/api/auth/refresh') return exchanged(from, path, init);
      return new Promise((_resolve, reject) =>
        init.signal?.addEventListener('abort', () => {
          stopped = clock.now();
          reject(new Error('given up'));
        }),
      );
    };
    const http = new Http(window.env, new CookieCredential(window.env));
    let over = 0;
    http.onOver = () => (over += 1);
    const begun = clock.now();
    let end: unknown = null;
    http.call('GET', '/a').catch((error: unknown) => (end = error));
    await clock.run(100);
    of.diskFails = () => true;
    await clock.run(LEASE);
    expect(end).toMatchObject({ code: 'offline' });
    expect(over).toBe(0);
    expect(stopped - begun).toBeLessThan(LEASE - LEASE_MARGIN + 100);
  });

  it('give the reason and the time of a refusal, also of something between', async () => {
    const answers = [
      Response.json({ code: 'rate_limited', detail: 'slowly', retry_after_ms: 1_500 }, { status: 429, headers: { 'retry-after': '2' } }),
      new Response('<h1>Bad gateway</h1>', { status: 502, headers: { 'retry-after': '7' } }),
    ];
    const { browser: of, clock } = browser(() => answers.shift() ?? Response.error());
    const { env } = of.open();
    const http = new Http(env, new CookieCredential(env));
    const both = [http.call('GET', '/a').catch((e: unknown) => e), http.call('GET', '/b').catch((e: unknown) => e)];
    await clock.run(100);
    expect(await both[0]).toMatchObject({ code: 'rate_limited', message: 'slowly', retryAfterMs: 1_500 });
    expect(await both[1]).toMatchObject({ code: 'unavailable', retryAfterMs: 7_000, status: 502 });
  });

  it('read Retry-After in seconds and as a date', () => {
    expect(retryAfterOf('3', 0)).toBe(3_000);
    expect(retryAfterOf('Thu, 01 Jan 1970 00:00:05 GMT', 1_000)).toBe(4_000);
    expect([retryAfterOf(null, 0), retryAfterOf('soon', 0), retryAfterOf('', 0)]).toEqual([null, null, null]);
  });
});

describe('keys', () => {
  it('are random UUIDs of version 4', () => {
    const keys = Array.from({ length: 50 }, uuid4);
    for (const key of keys) expect(key).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(new Set(keys).size).toBe(50);
  });
});
