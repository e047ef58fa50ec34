// Messages that are fetched one by one.
import { expect, it } from 'vitest';
import { CookieCredential } from './credential.ts';
import { Engine } from './engine.ts';
import { Http } from './http.ts';
import { FakeBrowser } from './testkit/browser.ts';
import { FakeClock } from './testkit/clock.ts';
import { seeded } from './testkit/random.ts';
import { FakeServer } from './testkit/server.ts';

it('a message that is deleted while it is fetched does not show its text', async () => {
  const clock = new FakeClock();
  const server = new FakeServer(clock, seeded(1));
  const ann = server.user('ann');
  const bob = server.user('bob');
  const tea = server.room('tea', [ann, bob]);
  const { seq } = server.commit(tea, bob, 'message', { type: 'send', body: 'secret' }).event;
  const window = new FakeBrowser('ann', clock, server.random, server).open();
  server.signIn(window, ann);
  const nothing = (): void => {};
  const http = new Http(window.env, new CookieCredential(window.env));
  const engine = new Engine(window.env, http, ann, { changed: nothing, heard: nothing, refused: nothing, stranger: nothing, named: nothing });
  engine.start();
  await clock.run(5_000);
  const room = engine.room(tea.id);
  if (room === null) throw new Error('it is not in the list');
  // The page was read before the delete, and comes after it.
  const page = server.page(tea, { after: seq - 1, limit: 1 });
  server.page = () => page;
  const asked = engine.history.peek(room, seq);
  server.commit(tea, bob, 'delete', { type: 'delete', target: seq });
  await clock.run(1_000);
  expect(page.messages[0]?.body).toBe('secret');
  for (const entry of [await asked, await engine.history.peek(room, seq)]) {
    expect([entry?.body, entry?.deleted?.by.username]).toEqual([undefined, 'bob']);
  }
  await engine.stop(false);
});
