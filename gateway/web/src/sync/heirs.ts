// Who sends what a window left behind when it ended. The others wait for its lock, and who gets it takes
// its changes over: those on disk in one transaction, and those that never got there, or are on a disk that
// takes nothing any more, from the memory of whoever was told of them. A lease says only that its window did not
// renew it: it can stand still, or its disk fails. So it is asked first, and nothing is done once the lease is lost.
// Where no lease can be had, who does not answer counts as ended as well.
import { agreed } from './agreed.ts';
import type { Env } from './env.ts';
import { ADOPT_PAUSE, ADOPT_TRIES, HEIR_WAIT, OUTBOX_LOOK } from './limits.ts';
import { certain, type Lock, NoLock } from './locks.ts';
import type { OutboxStore, Stored } from './outbox-store.ts';

/** What an heir needs of the outbox of its window. */
export interface Estate {
  /** What is known of a window's changes that are not over. */
  ownedBy(owner: string): Stored[];
  /** What other windows have, and not this owner, whatever the disk says: change and window. */
  takenFrom(owner: string): ReadonlyMap<string, string>;
  /** Whether a window lives. It answers unless the browser stopped it; others say meanwhile what they have and no disk does. */
  lives(owner: string): Promise<boolean>;
  /** Whether a change that is not over is this window's, whatever the disk says. */
  isOwn(key: string): boolean;
  /** Whether a change of another window was on disk when that one told of it. */
  isKept(key: string): boolean;
  /** A change on disk, of this window (`adopted`) or of another. */
  found(stored: Stored, adopted: boolean): void;
  /** This window's from now on, and to be written to disk; resolves after that. */
  takenOver(changes: Stored[]): Promise<void>;
  /** It was answered or taken back, and that was not told. */
  over(stored: Stored): void;
}

export class Heirs {
  readonly #env: Env;
  readonly #user: string;
  readonly #window: string;
  readonly #store: OutboxStore;
  readonly #estate: Estate;
  /** Windows whose lock is waited for. */
  readonly #of = new Set<string>();
  /** Windows whose lock this one has. */
  readonly #held = new Set<string>();
  readonly #closing = new AbortController();

  constructor(env: Env, user: string, window: string, store: OutboxStore, estate: Estate) {
    this.#env = env;
    this.#user = user;
    this.#window = window;
    this.#store = store;
    this.#estate = estate;
  }

  /** Takes over what a window owns, once it is closed. To be asked again now and then: it can fail. */
  await(owner: string): void {
    if (this.#of.has(owner)) return;
    this.#of.add(owner);
    void this.#awaitEnd(owner)
      .catch(() => {})
      .finally(() => this.#of.delete(owner));
  }

  close(): void {
    this.#closing.abort();
  }

  async #awaitEnd(owner: string): Promise<void> {
    const { signal } = this.#closing;
    const inherit = (lock: Lock): Promise<boolean> => this.#ended(owner, lock);
    const ended = await this.#env.locks.run(lockOf(owner), inherit, signal).catch(async (error: unknown) => {
      if (!(error instanceof NoLock)) throw error;
      // A window whose disk works comes first. If there is none, nobody would ever send it.
      await this.#pause(OUTBOX_LOOK);
      signal.throwIfAborted();
      if (this.#estate.ownedBy(owner).length === 0) return true;
      return await agreed(this.#env, 'parlance.heir', () => inherit(certain(() => {})), signal);
    });
    // It stands still now and then, or its disk fails: that is not asked all the time.
    if (!ended) await this.#pause(OUTBOX_LOOK);
  }

  /** Its lock was got, or nobody can get it. False: it lives all the same. */
  async #ended(owner: string, lock: Lock): Promise<boolean> {
    if (!this.#env.locks.areCertain && (await this.#estate.lives(owner))) return false;
    await this.#inherit(owner, lock);
    return true;
  }

  /**
   * A window ended. Its lock is kept until the disk says who owns its changes now: who gets it before that reads
   * there that it is the heir, and some would go over one socket and some over another.
   */
  async #inherit(owner: string, lock: Lock): Promise<void> {
    this.#held.add(owner);
    try {
      while (!(await this.#takeAll(owner, lock)) && this.#store.exists) await this.#pause(OUTBOX_LOOK);
    } finally {
      this.#held.delete(owner);
    }
  }

  /** What it did last may not have been told: the disk has the last word on what was on it. False: it took nothing. */
  async #takeAll(owner: string, lock: Lock): Promise<boolean> {
    const adopted = await this.#adopt(owner, lock);
    const onDisk = adopted ?? (await this.#store.load(this.#user).catch(() => null));
    // First what others have: it can be older than what is this window's from now on, and holds it up then.
    for (const stored of onDisk ?? []) {
      // What was taken over from memory is this window's, although the disk did not take that.
      const isTaken = this.#held.has(stored.owner) && this.#estate.isOwn(stored.key);
      if (stored.owner !== this.#window && !isTaken) this.#estate.found(stored, false);
    }
    const isOnDisk = new Set(onDisk?.map((stored) => stored.key));
    const isAdopted = new Set(adopted?.filter((stored) => stored.owner === this.#window).map((stored) => stored.key));
    const left: string[] = [];
    for (const stored of this.#estate.ownedBy(owner)) {
      const { key } = stored;
      if (isAdopted.has(key)) continue;
      if (adopted === null || !this.#estate.isKept(key)) left.push(key);
      else if (!isOnDisk.has(key)) this.#estate.over(stored);
    }
    // Together with what was on disk they go in the order in which they were made.
    try {
      if (left.length > 0) await this.#takeOver(owner, new Set(left), lock);
    } finally {
      // The disk says that it is this window's, also when the lease was lost over the rest.
      for (const stored of adopted ?? []) {
        if (stored.owner === this.#window && !this.#estate.isOwn(stored.key)) this.#estate.found(stored, true);
      }
    }
    return adopted !== null;
  }

  /** All that is on disk, after what the window had there became this one's; null: the disk takes nothing. */
  async #adopt(owner: string, lock: Lock): Promise<Stored[] | null> {
    for (let tries = 1; tries <= ADOPT_TRIES; tries += 1) {
      this.#mayAct(lock);
      try {
        return await this.#store.adopt(this.#user, owner, this.#window, this.#estate.takenFrom(owner));
      } catch {
        await this.#pause(ADOPT_PAUSE);
      }
    }
    return null;
  }

  /** From memory: if it was sent already, the server says so to whoever sends it again. */
  async #takeOver(owner: string, keys: ReadonlySet<string>, lock: Lock): Promise<void> {
    await this.#pause(HEIR_WAIT);
    this.#mayAct(lock);
    const left = this.#estate.ownedBy(owner).filter((stored) => keys.has(stored.key));
    left.sort((a, b) => a.order - b.order);
    // On disk before the lock is given back, so that the next heir finds it there.
    await this.#estate.takenOver(left.map((stored) => ({ ...stored, owner: this.#window })));
  }

  /** Throws when this window's part is over, or another one may have the lock by now. */
  #mayAct(lock: Lock): void {
    this.#closing.signal.throwIfAborted();
    if (!lock.isHeld) throw new Error('the lease was lost');
  }

  /** Not longer than the window's part: the lock is given back with it. */
  #pause(ms: number): Promise<void> {
    const { signal } = this.#closing;
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        signal.removeEventListener('abort', done);
        resolve();
      };
      const cancel = this.#env.clock.after(ms, done);
      signal.addEventListener('abort', done);
    });
  }
}

/** The lock that a window holds for as long as it lives. */
export function lockOf(window: string): string {
  return `parlance/window/${window}`;
}
