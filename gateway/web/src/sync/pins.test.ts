// The pins of an open room, while many are set.
import { expect, it } from 'vitest';
import { CookieCredential } from './credential.ts';
import { Engine } from './engine.ts';
import { Http } from './http.ts';
import { FakeBrowser, type Network } from './testkit/browser.ts';
import { FakeClock } from './testkit/clock.ts';
import { seeded } from './testkit/random.ts';
import { FakeServer } from './testkit/server.ts';

it('are read a few times, and the last of them is shown', async () => {
  const clock = new FakeClock();
  const server = new FakeServer(clock, seeded(1));
  const ann = server.user('ann');
  const bob = server.user('bob');
  const room = server.room('a', [ann, bob]);
  for (let i = 1; i <= 20; i += 1) server.commit(room, bob, `message-${i}`, { type: 'send', body: `${i}` });
  let reads = 0;
  const network: Network = {
    openSocket: (window) => server.openSocket(window),
    fetch: async (window, path, init) => {
      if (!path.endsWith('/pins')) return await server.fetch(window, path, init);
      reads += 1;
      const pinned = new Set(room.log.filter((event) => event.kind === 'pin' && event.on === true).map((event) => event.target));
      const messages = room.log.filter((event) => pinned.has(event.seq));
      await new Promise<void>((resolve) => clock.after(20, resolve));
      return Response.json({ messages });
    },
  };
  const window = new FakeBrowser('ann', clock, server.random, network).open();
  server.signIn(window, ann);
  const nothing = (): void => {};
  const http = new Http(window.env, new CookieCredential(window.env));
  const engine = new Engine(window.env, http, ann, { changed: nothing, heard: nothing, refused: nothing, stranger: nothing, named: nothing });
  engine.start();
  await clock.run(5_000);
  void engine.open(room.id);
  void engine.loadPins(room.id);
  await clock.run(1_000);
  expect([reads, engine.room(room.id)?.pins]).toEqual([1, []]);
  for (let i = 1; i <= 20; i += 1) {
    server.commit(room, bob, `pin-${i}`, { type: 'pin', target: i, on: true });
    await clock.run(50);
  }
  await clock.run(10_000);
  expect(engine.room(room.id)?.pins).toHaveLength(20);
  expect(reads).toBeLessThanOrEqual(5);
  await engine.stop(false);
});
