import { expect, it } from 'vitest';
import type { Member } from '../../state/types.ts';
import { Places } from './places.ts';

const member = (username: string): Member => ({ user: { id: `id-${username}`, username }, role: 'member' });
const [ann, bob, cleo, dan] = ['ann', 'bob', 'cleo', 'dan'].map(member) as [Member, Member, Member, Member];

/** A list in which it can become known what people call themselves. */
class Scene {
  readonly #places = new Places();
  readonly names = new Map<string, string>();

  take(members: readonly Member[], word = '', of = 'tea'): string[] {
    const nameOf = ({ user }: Member): string => this.names.get(user.username) ?? user.username;
    const fits = (one: Member): boolean => nameOf(one).toLowerCase().includes(word) || one.user.username.includes(word);
    return this.#places.take(`${of} ${word}`, members, fits, nameOf).map(({ user }) => user.username);
  }
}

it('nobody moves when it becomes known what they call themselves', () => {
  const scene = new Scene();
  expect(scene.take([cleo, bob, ann])).toEqual(['ann', 'bob', 'cleo']);
  scene.names.set('ann', 'Zoe');
  expect(scene.take([cleo, bob, ann])).toEqual(['ann', 'bob', 'cleo']);
});

it('who comes later is placed among the others by their name, and who leaves is gone', () => {
  const scene = new Scene();
  scene.take([ann, bob, cleo]);
  scene.names.set('dan', 'Billie');
  scene.names.set('cleo', 'Aaron');
  expect(scene.take([ann, bob, cleo, dan])).toEqual(['ann', 'dan', 'bob', 'cleo']);
  expect(scene.take([bob, cleo, dan])).toEqual(['dan', 'bob', 'cleo']);
});

it('another word or another list takes the order anew', () => {
  const scene = new Scene();
  scene.take([ann, bob, cleo]);
  scene.names.set('ann', 'Zoe');
  expect(scene.take([ann, bob, cleo], 'o')).toEqual(['bob', 'cleo', 'ann']);
  expect(scene.take([ann, bob, cleo])).toEqual(['bob', 'cleo', 'ann']);
  scene.names.set('ann', 'Al');
  expect(scene.take([ann, bob, cleo], '', 'plans')).toEqual(['ann', 'bob', 'cleo']);
});

it('who was found stays found, and who is found by a name that just came joins them', () => {
  const scene = new Scene();
  scene.names.set('bob', 'Mr. Love');
  expect(scene.take([ann, bob, cleo], 'love')).toEqual(['bob']);
  scene.names.set('ann', 'Ada Lovelace');
  scene.names.set('bob', 'Bob');
  expect(scene.take([ann, bob, cleo], 'love')).toEqual(['ann', 'bob']);
});
