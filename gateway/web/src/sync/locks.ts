// Locks between the windows of one browser. Web Locks where they exist; they do not on plain http
// addresses, and there a lease in the database stands in: taken in one transaction, renewed while it is
// held, free for others when it was not renewed in time.
//
// A lease that could not be renewed is lost for its holder a while before another one may take it. Both go by
// the time of day, which is the same for all windows of a browser, and not by timers, which come late in windows
// that nobody sees: so `isHeld` is asked right before each act. A database that fails gives no lease to
// anybody. What it cannot tell is whether a holder is gone or only stands still.
import { Database, LEASES, WORK } from './database.ts';
import type { Clock } from './env.ts';
import { inTime } from './in-time.ts';
import { DISK_WAIT, LEASE, LEASE_MARGIN, LEASE_POLL, LEASE_RENEW, LEASE_TRIES } from './limits.ts';

/** A lock that was got. */
export interface Lock {
  /** What is done under it may be done now. */
  readonly isHeld: boolean;
  /** Grows each time that it is got anew: others may have had it in between. */
  readonly turn: number;
  /** It is not held any more although nobody gave it back: what is under way is to stop. */
  readonly lost: AbortSignal;
  /** Tries to have it again. False: another has it; null: that could not be found out. */
  again(): Promise<boolean | null>;
  release(): void;
}

export interface Locks {
  /** Who gets a lock knows that the one before gave it back or is gone. */
  readonly areCertain: boolean;
  /** Waits for the lock, works, and gives it back. Rejects when `signal` comes before the lock, and with `NoLock`. */
  run<T>(name: string, work: (lock: Lock) => Promise<T>, signal?: AbortSignal): Promise<T>;
  /**
   * Takes the lock for as long as the page lives, or until it is released. Where the database fails, it is not held
   * yet when this resolves, and is taken as soon as that works. Rejects with `NoLock` where there are none.
   */
  hold(name: string): Promise<Lock>;
}

/** There are no locks, or the database that stands in for them fails. */
export class NoLock extends Error {}

export class WebLocks implements Locks {
  readonly areCertain = true;
  readonly #locks: LockManager;

  constructor(locks: LockManager) {
    this.#locks = locks;
  }

  async run<T>(name: string, work: (lock: Lock) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const asked = (): Promise<T> => work(certain(() => {}));
    return (await this.#locks.request(name, signal === undefined ? {} : { signal }, asked)) as T;
  }

  hold(name: string): Promise<Lock> {
    return new Promise((resolve, reject) => {
      const held = this.#locks.request(name, () => new Promise<void>((release) => resolve(certain(release))));
      held.catch(reject);
    });
  }
}

/** A lock that is held until it is given back, whatever happens. */
export function certain(release: () => void): Lock {
  return { isHeld: true, turn: 1, lost: new AbortController().signal, again: () => Promise.resolve(true), release };
}

interface Entry {
  name: string;
  holder: string;
  until: number;
}

export class Leases implements Locks {
  readonly areCertain = false;
  readonly #database: Database;
  /** There is a database at all. */
  readonly #exists: boolean;
  readonly #clock: Clock;
  readonly #uuid: () => string;

  constructor(factory: IDBFactory | null, clock: Clock, uuid: () => string) {
    this.#database = new Database({ indexedDb: factory, clock }, WORK);
    this.#exists = factory !== null;
    this.#clock = clock;
    this.#uuid = uuid;
  }

  async run<T>(name: string, work: (lock: Lock) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const lease = this.#lease(name);
    try {
      if (!(await this.#wait(lease, signal))) throw new NoLock('The database of this browser fails.');
      lease.keep();
      return await work(lease);
    } finally {
      lease.release();
    }
  }

  async hold(name: string): Promise<Lock> {
    const lease = this.#lease(name);
    await this.#wait(lease);
    lease.keep();
    return lease;
  }

  #lease(name: string): Lease {
    if (!this.#exists) throw new NoLock('This browser has neither locks nor a database.');
    return new Lease(this.#database, this.#clock, name, this.#uuid());
  }

  /** False: the database does not answer, or fails and not only once. */
  async #wait(lease: Lease, signal?: AbortSignal): Promise<boolean> {
    for (let failures = 0; ; ) {
      const begun = this.#clock.now();
      const taken = await inTime(this.#clock, DISK_WAIT, lease.again());
      if (taken === true) return true;
      failures = taken === null ? failures + 1 : 0;
      // One that hangs would hang again, and somebody waits for the sign-in.
      const hangs = taken === null && this.#clock.now() - begun >= DISK_WAIT;
      if (hangs || failures >= LEASE_TRIES) return false;
      signal?.throwIfAborted();
      await new Promise<void>((resolve) => this.#clock.after(LEASE_POLL, resolve));
      signal?.throwIfAborted();
    }
  }
}

class Lease implements Lock {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #name: string;
  readonly #holder: string;
  readonly #lost = new AbortController();
  /** As it is in the database since it was taken or renewed last. */
  #until = 0;
  #turn = 0;
  #isReleased = false;
  #cancelRenewal = (): void => {};
  #cancelEnd = (): void => {};

  constructor(database: Database, clock: Clock, name: string, holder: string) {
    this.#database = database;
    this.#clock = clock;
    this.#name = name;
    this.#holder = holder;
  }

  get isHeld(): boolean {
    const left = this.#until - this.#clock.now();
    // If more is left than there ever was, the clock was set back, and others find it free before its time.
    return !this.#isReleased && left > LEASE_MARGIN && left <= LEASE;
  }

  get turn(): number {
    return this.#turn;
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Renews it from now on. */
  keep(): void {
    if (this.#isReleased) return;
    this.#cancelRenewal = this.#clock.after(LEASE_RENEW, () => void this.again().then(() => this.keep()));
  }

  async again(): Promise<boolean | null> {
    try {
      const found = await this.#database.run(LEASES, 'readwrite', (store) => {
        const result = { until: 0 };
        const asked = store.get(this.#name);
        asked.onsuccess = () => {
          const entry = asked.result as Entry | undefined;
          // Only now: it may have waited behind the holder's own renewal.
          const now = this.#clock.now();
          if (entry !== undefined && entry.holder !== this.#holder && isAnothers(entry.until, now)) return;
          result.until = now + LEASE;
          store.put({ name: this.#name, holder: this.#holder, until: result.until } satisfies Entry);
        };
        return result;
      });
      if (found.until === 0) return false;
      this.#taken(found.until);
      return true;
    } catch {
      return null;
    }
  }

  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#cancelRenewal();
    this.#cancelEnd();
    void this.#give();
  }

  #taken(until: number): void {
    // It was given back while it was renewed.
    if (this.#isReleased) return void this.#give();
    if (!this.isHeld) this.#turn += 1;
    this.#until = until;
    this.#cancelEnd();
    const left = until - LEASE_MARGIN - this.#clock.now();
    this.#cancelEnd = this.#clock.after(left, () => this.#lost.abort());
  }

  async #give(): Promise<void> {
    try {
      await this.#database.run(LEASES, 'readwrite', (store) => {
        const asked = store.get(this.#name);
        asked.onsuccess = () => {
          if ((asked.result as Entry | undefined)?.holder === this.#holder) store.delete(this.#name);
        };
      });
    } catch {
      // It runs out by itself.
    }
  }
}

/** Whether a lease that ends then is still its holder's, also if the clocks of two pages differ a little. */
function isAnothers(until: number, now: number): boolean {
  const left = until - now;
  return left > 0 && left <= LEASE + LEASE_MARGIN;
}
