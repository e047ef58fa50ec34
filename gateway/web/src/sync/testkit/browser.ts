// A browser for tests: windows that share a database, locks and channels, and can end at any moment.
import { IDBFactory } from 'fake-indexeddb';
import type { Channel, Clock, Env, Memory, Socket } from '../env.ts';
import { certain, Leases, type Lock, type Locks } from '../locks.ts';
import type { FakeClock } from './clock.ts';

export interface Network {
  openSocket(window: FakeWindow): Socket;
  fetch(window: FakeWindow, path: string, init: RequestInit): Promise<Response>;
}

interface Held {
  window: FakeWindow;
  grant: () => void;
}

/** A database that never answers. */
export const STUCK = { open: () => ({}) } as unknown as IDBFactory;

export class FakeBrowser {
  readonly clock: FakeClock;
  readonly random: () => number;
  readonly network: Network;
  readonly indexedDb: IDBFactory = new IDBFactory();
  /** Whether a transaction that begins now fails. */
  diskFails: (window: FakeWindow, mode: IDBTransactionMode) => boolean = () => false;
  readonly memory: Memory;
  /** It has no locks of its own, as on plain http addresses. */
  readonly hasLocks: boolean;
  readonly channels = new Map<string, Set<FakeChannel>>();
  /** The first of each queue has the lock. */
  readonly locks = new Map<string, Held[]>();
  #uuids = 0;
  readonly #name: string;

  constructor(name: string, clock: FakeClock, random: () => number, network: Network, hasLocks = true) {
    this.hasLocks = hasLocks;
    this.#name = name;
    this.clock = clock;
    this.random = random;
    this.network = network;
    const kept = new Map<string, string>();
    this.memory = {
      get: (key) => kept.get(key) ?? null,
      set: (key, value) => void (value === null ? kept.delete(key) : kept.set(key, value)),
      names: () => [...kept.keys()],
    };
  }

  open(): FakeWindow {
    return new FakeWindow(this);
  }

  uuid(): string {
    this.#uuids += 1;
    // Unique, and like real ones in no order.
    const scrambled = Math.imul(this.#uuids, 0x9e3779b1) >>> 0;
    return `${this.#name}-0000-4000-8000-${scrambled.toString(16).padStart(12, '0')}`;
  }

  give(name: string, held: Held): void {
    const queue = this.locks.get(name) ?? [];
    const wasFirst = queue[0] === held;
    const rest = queue.filter((other) => other !== held);
    this.locks.set(name, rest);
    if (wasFirst) rest[0]?.grant();
  }
}

export class FakeWindow {
  readonly browser: FakeBrowser;
  readonly env: Env;
  alive = true;
  readonly #timers = new Set<() => void>();
  readonly #channels = new Set<FakeChannel>();
  readonly sockets = new Set<{ kill(): void }>();

  constructor(browser: FakeBrowser) {
    this.browser = browser;
    const clock: Clock = {
      now: () => browser.clock.now(),
      after: (ms, call) => {
        const cancel = browser.clock.after(ms, () => {
          this.#timers.delete(cancel);
          if (this.alive) call();
        });
        this.#timers.add(cancel);
        return cancel;
      },
    };
    const indexedDb = this.#disk();
    this.env = {
      clock,
      random: browser.random,
      uuid: () => browser.uuid(),
      fetch: (path, init) => browser.network.fetch(this, path, init),
      openSocket: () => {
        const socket = browser.network.openSocket(this);
        // What still runs of a page that is gone reaches nobody.
        if (!this.alive) socket.close();
        return socket;
      },
      openChannel: (name) => this.#openChannel(name),
      locks: browser.hasLocks ? this.#locks() : new Leases(indexedDb, clock, () => browser.uuid()),
      indexedDb,
      memory: browser.memory,
    };
  }

  /** The window is closed, or the page reloaded: nothing of it runs any more, and its locks are free. */
  kill(): void {
    this.alive = false;
    for (const cancel of this.#timers) cancel();
    for (const channel of this.#channels) channel.close();
    for (const socket of this.sockets) socket.kill();
    for (const [name, queue] of this.browser.locks) {
      for (const held of queue.filter((one) => one.window === this)) this.browser.give(name, held);
    }
  }

  /** The browser's database, where it fails when it is to. */
  #disk(): IDBFactory {
    const { browser } = this;
    const open = (name: string, version?: number): IDBOpenDBRequest => {
      const request = browser.indexedDb.open(name, version);
      request.addEventListener('success', () => {
        const database = request.result;
        const begin = database.transaction.bind(database);
        database.transaction = (stores, mode = 'readonly') => {
          const transaction = begin(stores, mode);
          if (browser.diskFails(this, mode)) queueMicrotask(() => transaction.abort());
          return transaction;
        };
      });
      return request;
    };
    return { open } as IDBFactory;
  }

  #openChannel(name: string): Channel {
    const { channels } = this.browser;
    let all = channels.get(name);
    if (all === undefined) channels.set(name, (all = new Set()));
    const channel = new FakeChannel(all);
    this.#channels.add(channel);
    return channel;
  }

  #locks(): Locks {
    const acquire = (name: string, signal?: AbortSignal): Promise<Lock> =>
      new Promise((resolve, reject) => {
        if (!this.alive) return;
        const held: Held = { window: this, grant: () => resolve(certain(() => this.browser.give(name, held))) };
        const queue = this.browser.locks.get(name) ?? [];
        queue.push(held);
        this.browser.locks.set(name, queue);
        signal?.addEventListener('abort', () => {
          if (queue[0] === held) return;
          this.browser.give(name, held);
          reject(new Error('aborted'));
        });
        if (queue.length === 1) held.grant();
      });
    return {
      areCertain: true,
      async run(name, work, signal) {
        const lock = await acquire(name, signal);
        try {
          return await work(lock);
        } finally {
          lock.release();
        }
      },
      hold: (name) => acquire(name),
    };
  }
}

class FakeChannel implements Channel {
  onmessage: ((message: { data: unknown }) => void) | null = null;
  readonly #all: Set<FakeChannel>;

  constructor(all: Set<FakeChannel>) {
    this.#all = all;
    all.add(this);
  }

  postMessage(message: unknown): void {
    const data: unknown = structuredClone(message);
    for (const other of this.#all) {
      if (other !== this) setImmediate(() => this.#all.has(other) && other.onmessage?.({ data }));
    }
  }

  close(): void {
    this.#all.delete(this);
  }
}
