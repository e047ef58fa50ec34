// Where one was mentioned, as a list, against a server that is well.
import { describe, expect, it } from 'vitest';
import { CookieCredential } from '../sync/credential.ts';
import { mentionsUser } from '../sync/mentions.ts';
import { FakeBrowser, type Network } from '../sync/testkit/browser.ts';
import { FakeClock } from '../sync/testkit/clock.ts';
import { seeded } from '../sync/testkit/random.ts';
import { FakeServer, type ServerRoom } from '../sync/testkit/server.ts';
import type { Account, Mention } from '../sync/wire.ts';
import { Host } from './host.svelte.ts';
import { Mentions } from './mentions.svelte.ts';
import { People } from './people.svelte.ts';
import { Rooms } from './rooms.svelte.ts';

/** What the server keeps of the mentions of an account, the newest first. */
function kept(server: FakeServer, account: Account): Mention[] {
  const all = [...server.rooms.values()].flatMap((room) => room.log
    .filter((one) => one.kind === 'message' && one.sender.id !== account.id && mentionsUser(one.body ?? '', account.username))
    .map((one) => ({ room: room.id, seq: one.seq, at: one.sent_at })));
  return all.sort((a, b) => Date.parse(b.at) - Date.parse(a.at) || b.seq - a.seq);
}

class Scene {
  readonly clock = new FakeClock();
  readonly server = new FakeServer(this.clock, seeded(1));
  readonly ada = this.server.user('ada');
  readonly bob = this.server.user('bob');
  readonly calls: string[] = [];
  /** Mentions in one page. */
  page = 25;
  away = false;
  host!: Host;
  list!: Mentions;
  #said = 0;

  async open(): Promise<void> {
    const network: Network = {
      openSocket: (window) => this.server.openSocket(window),
      fetch: (window, path, init) => (path.startsWith('/api/me/mentions') ? this.#mentions(path) : this.server.fetch(window, path, init)),
    };
    const window = new FakeBrowser('ada', this.clock, this.server.random, network).open();
    this.server.signIn(window, this.ada);
    this.host = new Host(window.env, new CookieCredential(window.env));
    this.host.begin(this.ada);
    this.list = new Mentions(this.host, new Rooms(this.host, new People(this.host)));
  }

  say(room: ServerRoom, body: string): number {
    this.#said += 1;
    return this.server.commit(room, this.bob, `said-${this.#said}`, { type: 'send', body }).event.seq;
  }

  change(room: ServerRoom, change: { type: 'delete'; target: number } | { type: 'edit'; target: number; body: string }): void {
    this.#said += 1;
    this.server.commit(room, this.bob, `said-${this.#said}`, change);
  }

  bodies(): (string | null)[] {
    return this.list.items.map((one) => one.body);
  }

  async end(): Promise<void> {
    this.list.close();
    await this.host.end(false);
  }

  async #mentions(path: string): Promise<Response> {
    this.calls.push(path);
    await new Promise<void>((resolve) => this.clock.after(20, resolve));
    if (this.away) throw new TypeError('network');
    const before = new URL(path, 'http://x').searchParams.get('before');
    const all = kept(this.server, this.ada);
    const from = before === null ? 0 : all.findIndex((one) => `${one.room}.${one.seq}` === before) + 1;
    const mentions = all.slice(from, from + this.page);
    const last = mentions.at(-1);
    const next = last !== undefined && all.length > from + this.page ? `${last.room}.${last.seq}` : undefined;
    return Response.json({ mentions, next });
  }
}

describe('mentions', () => {
  it('are shown with their messages, the newest first, page by page', async () => {
    const scene = new Scene();
    const [tea, hall] = ['tea', 'hall'].map((name) => scene.server.room(name, [scene.ada, scene.bob])) as [ServerRoom, ServerRoom];
    for (let n = 1; n <= 5; n += 1) {
      scene.say(n % 2 === 0 ? tea : hall, `@ada ${n}`);
      scene.say(tea, `nobody ${n}`);
      await scene.clock.run(10);
    }
    scene.page = 2;
    await scene.open();
    void scene.list.load();
    expect(scene.list.loading).toBe(true);
    await scene.clock.run(5_000);
    expect([scene.bodies(), scene.list.more, scene.list.loading]).toEqual([['@ada 5', '@ada 4'], true, false]);
    expect(scene.list.items[0]).toMatchObject({ id: `${hall.id}/3`, room: hall.id, seq: 3, sender: { username: 'bob' } });
    for (const held of [4, 5]) {
      void scene.list.loadOlder();
      await scene.clock.run(1_000);
      expect(scene.list.items).toHaveLength(held);
    }
    expect(scene.bodies()).toEqual([5, 4, 3, 2, 1].map((n) => `@ada ${n}`));
    expect(scene.list.more).toBe(false);
    await scene.end();
  });

  it('come while they are looked at, and those that were shown stay', async () => {
    const scene = new Scene();
    const tea = scene.server.room('tea', [scene.ada, scene.bob]);
    for (let n = 1; n <= 4; n += 1) {
      scene.say(tea, `@ada ${n}`);
      await scene.clock.run(10);
    }
    scene.page = 2;
    await scene.open();
    void scene.list.load();
    await scene.clock.run(5_000);
    void scene.list.loadOlder();
    await scene.clock.run(1_000);
    const before = scene.calls.length;
    scene.say(tea, 'nobody');
    await scene.clock.run(5_000);
    expect(scene.calls).toHaveLength(before);
    scene.say(tea, 'and @Ada');
    await scene.clock.run(5_000);
    expect(scene.bodies()).toEqual(['and @Ada', '@ada 4', '@ada 3', '@ada 2', '@ada 1']);
    expect(scene.calls).toHaveLength(before + 1);
    // More than a page at once: the list begins anew, and nothing is left out of its middle.
    for (let n = 5; n <= 9; n += 1) scene.say(tea, `@ada ${n}`);
    await scene.clock.run(10_000);
    expect([scene.bodies(), scene.list.more]).toEqual([['@ada 9', '@ada 8'], true]);
    await scene.end();
  });

  it('follow what becomes of their messages', async () => {
    const scene = new Scene();
    const tea = scene.server.room('tea', [scene.ada, scene.bob]);
    const first = scene.say(tea, '@ada secret');
    await scene.clock.run(10);
    const second = scene.say(tea, '@ada tea?');
    await scene.open();
    void scene.list.load();
    await scene.clock.run(5_000);
    scene.change(tea, { type: 'delete', target: first });
    scene.change(tea, { type: 'edit', target: second, body: 'coffee?' });
    await scene.clock.run(5_000);
    expect(scene.bodies()).toEqual(['coffee?', null]);
    await scene.end();
  });

  it('say why they cannot be had, and are had later', async () => {
    const scene = new Scene();
    const tea = scene.server.room('tea', [scene.ada, scene.bob]);
    scene.say(tea, '@ada');
    await scene.open();
    scene.away = true;
    void scene.list.load();
    await scene.clock.run(5_000);
    expect([scene.list.fault !== null, scene.list.loading, scene.bodies()]).toEqual([true, false, []]);
    scene.away = false;
    void scene.list.load();
    await scene.clock.run(1_000);
    expect([scene.list.fault, scene.bodies()]).toEqual([null, ['@ada']]);
    await scene.end();
  });
});
