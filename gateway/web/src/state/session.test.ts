// Finding out who is signed in, while the server asks to wait, and what is left of it when nobody is any more.
import { describe, expect, it } from 'vitest';
import { CookieCredential } from '../sync/credential.ts';
import type { Channel } from '../sync/env.ts';
import { PeopleStore } from '../sync/people-store.ts';
import { FakeBrowser, type FakeWindow, type Network } from '../sync/testkit/browser.ts';
import { FakeClock } from '../sync/testkit/clock.ts';
import { One } from '../sync/testkit/one.ts';
import { Host } from './host.svelte.ts';
import { Session } from './session.svelte.ts';

it('asks who is signed in when the server allows it, and at once when a person says so', async () => {
  const clock = new FakeClock();
  let asked = 0;
  const network: Network = {
    openSocket: () => {
      throw new Error('no sockets here');
    },
    fetch: () => {
      asked += 1;
      return Promise.resolve(Response.json({ code: 'unavailable', detail: 'away', retry_after_ms: 20_000 }, { status: 503 }));
    },
  };
  const { env } = new FakeBrowser('x', clock, () => 0.5, network).open();
  const session = new Session(new Host(env, new CookieCredential(env)));
  session.start();
  for (let second = 0; second < 19; second += 1) {
    await clock.run(1_000);
    session.wake();
  }
  expect(asked).toBe(1);
  await clock.run(1_000);
  expect(asked).toBe(2);
  await clock.run(1_000);
  session.retryNow();
  await clock.run(100);
  expect(asked).toBe(3);
});

describe('no name that others gave themselves outlives the sign-in', () => {
  /** Ann's browser, in which she knows Bob by name. */
  class Scene {
    isOver = false;
    /** What an answer about people waits for after the server made it. */
    hold: () => Promise<void> | null = () => null;
    readonly one = new One((server) => ({
      fetch: async (window, path, init) => {
        const isOfSignIn = path === '/api/me' || path.startsWith('/api/auth/');
        if (this.isOver && isOfSignIn) return Response.json({ code: 'unauthenticated', detail: 'no' }, { status: 401 });
        if (path.startsWith('/api/auth/')) return Response.json({});
        const answer = await server.fetch(window, path, init);
        if (path.startsWith('/api/users')) await this.hold();
        return answer;
      },
    }));

    constructor() {
      this.one.server.profiles.change(this.one.bob, { name: 'Bob Ross' });
    }

    async page(window: FakeWindow = this.one.browser.open()): Promise<{ host: Host; session: Session }> {
      this.one.server.signIn(window, this.one.ann);
      const host = new Host(window.env, new CookieCredential(window.env));
      const session = new Session(host);
      session.start();
      await this.one.clock.run(2_000);
      return { host, session };
    }

    async names(): Promise<string[]> {
      const kept = await new PeopleStore(this.one.window.env).load(this.one.ann.id);
      return kept.map((one) => one.name);
    }

    /** A page on which Bob is looked at. */
    async met(): Promise<{ host: Host; session: Session }> {
      const page = await this.page();
      page.host.present.people.want(this.one.bob.id);
      await this.one.clock.run(1_000);
      expect(await this.names()).toEqual(['Bob Ross']);
      return page;
    }
  }

  it('that ran out while no page was open', async () => {
    const scene = new Scene();
    const { host } = await scene.met();
    await host.end(false);
    scene.isOver = true;
    const { session } = await scene.page();
    expect([session.phase, await scene.names()]).toEqual(['signed-out', []]);
  });

  it('but stays where the same person is asked to sign in again', async () => {
    const scene = new Scene();
    const { host, session } = await scene.met();
    scene.isOver = true;
    await host.http.call('GET', '/api/me').catch(() => {});
    await scene.one.clock.run(1_000);
    expect([session.phase, session.expired, await scene.names()]).toEqual(['signed-in', true, ['Bob Ross']]);
    await host.end(false);
  });

  it('that ended where it had run out', async () => {
    const scene = new Scene();
    const { session } = await scene.met();
    scene.isOver = true;
    const out = session.signOut();
    await scene.one.clock.run(2_000);
    await out;
    expect(await scene.names()).toEqual([]);
  });

  it('that another window ended, although this one wrote more names since', async () => {
    const scene = new Scene();
    const here = await scene.met();
    // Here the word that it is over comes late.
    const window = scene.one.browser.open();
    const words: (() => void)[] = [];
    const open = window.env.openChannel;
    window.env.openChannel = (name) => {
      const channel = open(name);
      if (name !== 'parlance/session') return channel;
      const late: Channel = { onmessage: null, postMessage: (word) => channel.postMessage(word), close: () => channel.close() };
      channel.onmessage = (word) => words.push(() => late.onmessage?.(word));
      return late;
    };
    const there = await scene.page(window);
    const cleo = scene.one.server.user('cleo');
    scene.one.server.profiles.change(cleo, { name: 'Cleo Reed' });
    const answers: (() => void)[] = [];
    scene.hold = () => new Promise<void>((resolve) => answers.push(resolve));
    there.host.present.people.want(cleo.id);
    await scene.one.clock.run(1_000);
    const out = here.session.signOut();
    await scene.one.clock.run(1_000);
    await out;
    for (const come of answers) come();
    await scene.one.clock.run(100);
    expect([there.session.phase, await scene.names()]).toEqual(['signed-in', ['Cleo Reed']]);
    for (const say of words) say();
    await scene.one.clock.run(2_000);
    expect([there.session.phase, await scene.names()]).toEqual(['signed-out', []]);
  });
});
