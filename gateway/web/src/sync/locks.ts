// Locks between the windows of one browser. Web Locks where they exist; they do not on plain http
// addresses, and there a lease in the database stands in: taken in one transaction, renewed while it
// is held, free for others when it was not renewed in time. A page that is frozen for longer than a
// lease can thus find that another one took its place; what is done under a lease must bear that
// (it does: the server takes every key once).
import { Database, LEASES } from './database.ts';
import type { Clock } from './env.ts';
import { LEASE, LEASE_POLL, LEASE_RENEW, LEASE_TRIES } from './limits.ts';

export interface Locks {
  /** Waits for the lock, works, and gives it back. Rejects when `signal` comes before the lock. */
  run<T>(name: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** Takes the lock for as long as the page lives, or until what this gives is called. */
  hold(name: string): Promise<() => void>;
}

export class WebLocks implements Locks {
  readonly #locks: LockManager;

  constructor(locks: LockManager) {
    this.#locks = locks;
  }

  async run<T>(name: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return (await this.#locks.request(name, signal === undefined ? {} : { signal }, work)) as T;
  }

  hold(name: string): Promise<() => void> {
    return new Promise((resolve, reject) => {
      const held = this.#locks.request(name, () => new Promise<void>((release) => resolve(release)));
      held.catch(reject);
    });
  }
}

interface Lease {
  name: string;
  holder: string;
  until: number;
}

export class Leases implements Locks {
  readonly #database: Database;
  /** There is a database at all. */
  readonly #shares: boolean;
  readonly #clock: Clock;
  readonly #uuid: () => string;

  constructor(factory: IDBFactory | null, clock: Clock, uuid: () => string) {
    this.#database = new Database(factory);
    this.#shares = factory !== null;
    this.#clock = clock;
    this.#uuid = uuid;
  }

  async run<T>(name: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const release = await this.#acquire(name, signal);
    try {
      return await work();
    } finally {
      release();
    }
  }

  hold(name: string): Promise<() => void> {
    return this.#acquire(name);
  }

  async #acquire(name: string, signal?: AbortSignal): Promise<() => void> {
    const holder = this.#uuid();
    let failures = 0;
    for (;;) {
      const taken = await this.#take(name, holder);
      if (taken === true) break;
      failures = taken === null ? failures + 1 : 0;
      // Without a database everybody has the lock: there is nothing to share either.
      if (failures >= LEASE_TRIES || !this.#shares) break;
      signal?.throwIfAborted();
      await new Promise<void>((resolve) => this.#clock.after(LEASE_POLL, resolve));
      signal?.throwIfAborted();
    }
    let held = true;
    let cancel = (): void => {};
    const renew = (): void => {
      if (!held) return void this.#give(name, holder);
      // When another one took it meanwhile, the work goes on: see above.
      cancel = this.#clock.after(LEASE_RENEW, () => void this.#take(name, holder).then(renew));
    };
    renew();
    return () => {
      if (!held) return;
      held = false;
      cancel();
      void this.#give(name, holder);
    };
  }

  /** Whether this holder has it now; null: that could not be found out. */
  async #take(name: string, holder: string): Promise<boolean | null> {
    const now = this.#clock.now();
    try {
      const taken = await this.#database.run(LEASES, 'readwrite', (store) => {
        const result = { taken: false };
        const asked = store.get(name);
        asked.onsuccess = () => {
          const lease = asked.result as Lease | undefined;
          if (lease !== undefined && lease.holder !== holder && lease.until > now) return;
          result.taken = true;
          store.put({ name, holder, until: now + LEASE } satisfies Lease);
        };
        return result;
      });
      return taken.taken;
    } catch {
      return null;
    }
  }

  async #give(name: string, holder: string): Promise<void> {
    try {
      await this.#database.run(LEASES, 'readwrite', (store) => {
        const asked = store.get(name);
        asked.onsuccess = () => {
          if ((asked.result as Lease | undefined)?.holder === holder) store.delete(name);
        };
      });
    } catch {
      // It runs out by itself.
    }
  }
}
