// What pages are told of people, against a server that is well.
import { expect, it } from 'vitest';
import { CookieCredential } from '../sync/credential.ts';
import { One } from '../sync/testkit/one.ts';
import { Host } from './host.svelte.ts';
import { People } from './people.svelte.ts';
import { Rooms } from './rooms.svelte.ts';
import { Session } from './session.svelte.ts';

/** Ann's page is opened. */
async function opened(): Promise<{ one: One; host: Host; people: People }> {
  const one = new One();
  one.server.signIn(one.window, one.ann);
  one.server.profiles.change(one.ann, { name: 'Ann Lee' });
  one.server.profiles.change(one.bob, { name: 'Bob Ross' });
  const host = new Host(one.window.env, new CookieCredential(one.window.env));
  const people = new People(host);
  new Session(host).start();
  await one.clock.run(2_000);
  return { one, host, people };
}

it('the username stands in for a name that is not known, and beside one that is', async () => {
  const { one, host, people } = await opened();
  const told = (): unknown[] => [people.nameOf(one.bob), people.handleOf(one.bob), people.fullNameOf(one.bob)];
  expect([told(), people.nameOfMention('bob')]).toEqual([['bob', null, 'bob'], null]);
  await one.clock.run(1_000);
  expect([told(), people.nameOfMention('Bob')]).toEqual([['Bob Ross', '@bob', '\u2068Bob Ross\u2069 (@bob)'], 'Bob Ross']);
  await host.end(false);
});

it('a name that is the username is said once', async () => {
  const { one, host, people } = await opened();
  one.server.profiles.change(one.bob, { name: 'bob' });
  people.profile(one.bob.id);
  await one.clock.run(1_000);
  expect([people.nameOf(one.bob), people.handleOf(one.bob), people.fullNameOf(one.bob)]).toEqual(['bob', null, 'bob']);
  await host.end(false);
});

it('one has the own name from the sign-in on', async () => {
  const { one, host, people } = await opened();
  expect(people.nameOf(one.ann)).toBe('Ann Lee');
  const saved = people.save({ name: '', about: 'Tea' });
  await one.clock.run(1_000);
  await saved;
  expect(people.profile(one.ann.id)).toEqual({ ...one.ann, about: 'Tea' });
  await host.end(false);
});

it('who signs out knows nobody, and neither does the next one until the server says so', async () => {
  const { one, host, people } = await opened();
  people.profile(one.bob.id);
  await one.clock.run(1_000);
  expect(people.nameOf(one.bob)).toBe('Bob Ross');
  await host.end(true);
  expect(people.nameOf(one.bob)).toBe('bob');
  host.begin(one.ann);
  await one.clock.run(10);
  expect(people.nameOf(one.bob)).toBe('bob');
  await host.end(false);
});

it('a conversation of two has the title that the other one gives themselves', async () => {
  const { one, host, people } = await opened();
  const rooms = new Rooms(host, people);
  host.present.put({ id: 'room-two', kind: 'direct', role: 'member', head: 0, read: 0, unread: 0, with: one.bob });
  expect(rooms.byId('room-two')?.title).toBe('bob');
  await one.clock.run(1_000);
  expect(rooms.byId('room-two')?.title).toBe('Bob Ross');
  await host.end(false);
});
