// What people are called, as pages show it. Everybody is watched by themselves, so that an answer draws
// again only what shows those whom it is about.
import { createSubscriber } from 'svelte/reactivity';
import type { Engine } from '../sync/engine.ts';
import type { Host } from './host.svelte.ts';
import type { PeopleStore, Profile, User } from './types.ts';

const FIRST_STRONG_ISOLATE = String.fromCodePoint(0x2068);
const POP_ISOLATE = String.fromCodePoint(0x2069);

interface Watch {
  /** Makes who reads depend on it. */
  subscribe: () => void;
  changed: () => void;
}

export class People implements PeopleStore {
  readonly #host: Host;
  /** By id, and by username after an @; there as long as somebody reads. */
  readonly #watched = new Map<string, Watch>();

  constructor(host: Host) {
    this.#host = host;
    host.onNamed = ({ id, username }) => {
      this.#watched.get(id)?.changed();
      this.#watched.get(mentionOf(username))?.changed();
    };
  }

  profile(id: string): Profile | null {
    const { engine } = this.#host;
    if (engine === null || id === '') return null;
    this.#watch(id, () => inView(engine, id));
    engine.people.want(id);
    return engine.people.profile(id);
  }

  nameOf(user: User): string {
    return this.profile(user.id)?.name ?? user.username;
  }

  handleOf(user: User): string | null {
    return this.nameOf(user) === user.username ? null : `@${user.username}`;
  }

  fullNameOf(user: User): string {
    const name = this.nameOf(user);
    return name === user.username ? name : `${isolated(name)} (@${user.username})`;
  }

  nameOfMention(username: string): string | null {
    const { engine } = this.#host;
    this.#watch(mentionOf(username), () => () => {});
    return engine?.people.called(username)?.name ?? null;
  }

  refresh(id: string): void {
    this.#host.engine?.people.refresh(id);
  }

  async save(change: { name?: string; about?: string }): Promise<void> {
    await this.#host.present.people.save(change);
  }

  #watch(key: string, begin: () => () => void): void {
    if (!$effect.tracking()) return;
    let watch = this.#watched.get(key);
    if (watch === undefined) this.#watched.set(key, (watch = this.#made(key, begin)));
    watch.subscribe();
  }

  #made(key: string, begin: () => () => void): Watch {
    const watch: Watch = {
      changed: () => {},
      subscribe: createSubscriber((update) => {
        watch.changed = update;
        this.#watched.set(key, watch);
        const end = begin();
        return () => {
          end();
          if (this.#watched.get(key) === watch) this.#watched.delete(key);
        };
      }),
    };
    return watch;
  }
}

function inView({ people }: Engine, id: string): () => void {
  people.show(id);
  return () => people.hide(id);
}

/** A name that runs from right to left, or has brackets of its own, changes nothing of what is around it. */
function isolated(name: string): string {
  return `${FIRST_STRONG_ISOLATE}${name}${POP_ISOLATE}`;
}

/** No id begins so. */
function mentionOf(username: string): string {
  return `@${username.toLowerCase()}`;
}
