// Who sends what a window left behind when it ended. The others wait for its lock, and who gets it takes
// its changes over: those on disk in one transaction, and those that never got there, or are on a disk that
// takes nothing any more, from the memory of whoever was told of them.
import type { Env } from './env.ts';
import { ADOPT_PAUSE, ADOPT_TRIES, HEIR_WAIT } from './limits.ts';
import type { OutboxStore, Stored } from './outbox-store.ts';

/** What an heir needs of the outbox of its window. */
export interface Estate {
  /** What is known of a window's changes that are not over. */
  ownedBy(owner: string): Stored[];
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
    const inheriting = this.#env.locks.run(lockOf(owner), () => this.#inherit(owner), this.#closing.signal);
    inheriting.catch(() => {}).finally(() => this.#of.delete(owner));
  }

  close(): void {
    this.#closing.abort();
  }

  /** A window ended: what it did last may not have been told. The disk has the last word on what was on it. */
  async #inherit(owner: string): Promise<void> {
    const adopted = await this.#adopt(owner);
    const onDisk = await this.#store.load(this.#user).catch(() => null);
    const isAdopted = new Set(adopted?.map((stored) => stored.key));
    const isOnDisk = new Set(onDisk?.map((stored) => stored.key));
    const left: string[] = [];
    for (const stored of this.#estate.ownedBy(owner)) {
      const { key } = stored;
      if (isAdopted.has(key)) continue;
      if (adopted === null || onDisk === null || !this.#estate.isKept(key)) left.push(key);
      else if (!isOnDisk.has(key)) this.#estate.over(stored);
    }
    // Together with what was on disk they go in the order in which they were made.
    if (left.length > 0) await this.#takeOver(owner, new Set(left));
    for (const stored of adopted ?? []) this.#estate.found(stored, true);
    for (const stored of onDisk ?? []) {
      if (stored.owner !== this.#window && stored.owner !== owner) this.#estate.found(stored, false);
    }
  }

  /** What a window had on disk, which is this one's from now on; null: the disk takes nothing. */
  async #adopt(owner: string): Promise<Stored[] | null> {
    for (let tries = 1; tries <= ADOPT_TRIES; tries += 1) {
      this.#closing.signal.throwIfAborted();
      try {
        return await this.#store.adopt(this.#user, owner, this.#window);
      } catch {
        await this.#pause(ADOPT_PAUSE);
      }
    }
    return null;
  }

  /** From memory: if it was sent already, the server says so to whoever sends it again. */
  async #takeOver(owner: string, keys: ReadonlySet<string>): Promise<void> {
    await this.#pause(HEIR_WAIT);
    this.#closing.signal.throwIfAborted();
    const left = this.#estate.ownedBy(owner).filter((stored) => keys.has(stored.key));
    left.sort((a, b) => a.order - b.order);
    // On disk before the lock is given back, so that the next heir finds it there.
    await this.#estate.takenOver(left.map((stored) => ({ ...stored, owner: this.#window })));
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#env.clock.after(ms, resolve));
  }
}

/** The lock that a window holds for as long as it lives. */
export function lockOf(window: string): string {
  return `parlance/window/${window}`;
}
