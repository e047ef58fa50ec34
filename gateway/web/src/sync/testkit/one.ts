// One window of one user (ann) against a server that does what it should, for tests of single things.
import { Engine, type EngineListener } from '../engine.ts';
import { CookieCredential } from '../credential.ts';
import { Http } from '../http.ts';
import type { PeopleStore } from '../people-store.ts';
import type { Account, Event } from '../wire.ts';
import { FakeBrowser, type FakeWindow, type Network } from './browser.ts';
import { FakeClock } from './clock.ts';
import { seeded } from './random.ts';
import { FakeServer, type ServerRoom } from './server.ts';

export class One {
  readonly clock = new FakeClock();
  readonly server = new FakeServer(this.clock, seeded(1));
  readonly ann: Account = this.server.user('ann');
  readonly bob: Account = this.server.user('bob');
  readonly tea: ServerRoom = this.server.room('tea', [this.ann, this.bob]);
  readonly browser: FakeBrowser;
  readonly window: FakeWindow;
  readonly engine: Engine;

  /** `network`: what stands between the window and the server. `hasLocks`: the browser has locks of its own. */
  constructor(network: (server: FakeServer) => Partial<Network> = () => ({}), hasLocks = true) {
    const { server } = this;
    const way: Network = {
      openSocket: (window) => server.openSocket(window),
      fetch: (window, path, init) => server.fetch(window, path, init),
      ...network(server),
    };
    this.browser = new FakeBrowser('ann', this.clock, server.random, way, hasLocks);
    this.window = this.browser.open();
    this.engine = this.begin(this.window);
  }

  /** An engine in a window of ann. */
  begin(window: FakeWindow, names: PeopleStore | null = null): Engine {
    this.server.signIn(window, this.ann);
    const nothing = (): void => {};
    const listener: EngineListener = { changed: nothing, heard: nothing, refused: nothing, stranger: nothing, named: nothing };
    return new Engine(window.env, new Http(window.env, new CookieCredential(window.env)), this.ann, listener, names);
  }

  /** Bob says so many things. */
  say(count: number, room = this.tea): Event[] {
    return Array.from({ length: count }, () => {
      const next = room.log.length + 1;
      return this.server.commit(room, this.bob, `bob-${next}`, { type: 'send', body: `message ${next}` }).event;
    });
  }
}
