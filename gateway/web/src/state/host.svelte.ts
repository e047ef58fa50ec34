// What the stores share: the world, the HTTP client, the engine of whoever is signed in, and the topics
// that make it reactive.
import { CookieCredential, type Credential } from '../sync/credential.ts';
import { Engine, type EngineListener } from '../sync/engine.ts';
import type { Env } from '../sync/env.ts';
import { browserEnv } from '../sync/env.ts';
import { Http } from '../sync/http.ts';
import { PeopleStore } from '../sync/people-store.ts';
import { Refusal } from '../sync/refusal.ts';
import type { Room } from '../sync/room.ts';
import type { Account, Event, User } from '../sync/wire.ts';
import { Topics } from './topics.svelte.ts';

export type Heard = (room: Room, event: Event) => void;

export class Host {
  readonly env: Env;
  readonly http: Http;
  readonly topics = new Topics();
  /** Told of every event of a room, once. */
  readonly heard = new Set<Heard>();
  /** Told of what was refused and nobody waits for. */
  onRefused: (refusal: Refusal) => void = () => {};
  /** Told when the server takes this page for another account than the engine's. */
  onStranger: () => void = () => {};
  /** Told when a person is known by another name, or says something else of themselves. */
  onNamed: (user: User) => void = () => {};
  #engine: Engine | null = null;
  readonly #names: PeopleStore;

  constructor(env: Env, credential: Credential) {
    this.env = env;
    this.http = new Http(env, credential);
    this.#names = new PeopleStore(env);
    this.#names.begin();
  }

  /** The engine; depends on who is signed in. */
  get engine(): Engine | null {
    this.topics.version('engine');
    return this.#engine;
  }

  /** The engine, for what only a signed-in user does. */
  get present(): Engine {
    if (this.#engine === null) throw new Refusal('unauthenticated', 'You are signed out.');
    return this.#engine;
  }

  begin(account: Account): void {
    const listener: EngineListener = {
      changed: (topic, live) => (live ? this.topics.soon(topic) : this.topics.changed(topic)),
      heard: (room, event) => {
        for (const hear of this.heard) hear(room, event);
      },
      refused: (refusal) => this.onRefused(refusal),
      stranger: () => this.onStranger(),
      named: (user) => this.onNamed(user),
    };
    this.#engine = new Engine(this.env, this.http, account, listener, this.#names);
    this.#engine.start();
    this.#tell();
  }

  async end(forget: boolean): Promise<void> {
    const engine = this.#engine;
    this.#engine = null;
    this.#tell();
    await engine?.stop(forget);
  }

  /** Nobody is signed in: what people call themselves leaves this machine. Not before the engine ended, which would write more. */
  async forgetNames(): Promise<void> {
    // Without a disk there are none.
    await this.#names.clear().catch(() => {});
  }

  /** What this browser keeps of a user for later pages. */
  forget(user: string): void {
    for (const name of this.env.memory.names()) {
      if (name.startsWith('parlance.') && name.includes(user)) this.env.memory.set(name, null);
    }
  }

  #tell(): void {
    for (const topic of ['engine', 'connection', 'rooms', 'presence']) this.topics.changed(topic);
  }
}

let host: Host | null = null;

/** The page's own host, made when it is first needed. */
export function theHost(): Host {
  if (host === null) {
    const env = browserEnv();
    host = new Host(env, new CookieCredential(env));
  }
  return host;
}
