// Changes without an answer, on disk: they outlive the page. Every one has one owner, the window
// that sends it. Ownership moves in one transaction, so that two windows never get the same change.
import { CHANGES, Database, type Disk, WORK } from './database.ts';
import type { Change } from './wire.ts';

export interface Stored {
  readonly key: string;
  readonly user: string;
  readonly room: string;
  /** Ascending in the order in which the user made them, over all windows. */
  readonly order: number;
  readonly change: Change;
  readonly createdAt: number;
  /** The window in which it was made; older releases did not write it. */
  readonly origin?: string;
  /** The window that sends it. */
  readonly owner: string;
  readonly state: 'queued' | 'failed';
  readonly error: string | null;
}

export class OutboxStore {
  /** There is a disk at all. */
  readonly exists: boolean;
  readonly #database: Database;

  constructor(disk: Disk) {
    this.exists = disk.indexedDb !== null;
    this.#database = new Database(disk, WORK);
  }

  async load(user: string): Promise<Stored[]> {
    const asked = await this.#database.run(CHANGES, 'readonly', (store) => store.getAll());
    return (asked.result as Stored[]).filter((one) => one.user === user).sort(byOrder);
  }

  async put(change: Stored): Promise<void> {
    await this.#database.run(CHANGES, 'readwrite', (store) => void store.put(change));
  }

  async remove(key: string): Promise<void> {
    await this.#database.run(CHANGES, 'readwrite', (store) => store.delete(key));
  }

  /**
   * Gives what `from` owns to `to`, or to whom `taken` says has it already. All that the user has on disk after that,
   * in the order in which it was made.
   */
  async adopt(user: string, from: string, to: string, taken: ReadonlyMap<string, string>): Promise<Stored[]> {
    const all = await this.#database.run(CHANGES, 'readwrite', (store) => {
      const all: Stored[] = [];
      const asked = store.getAll();
      asked.onsuccess = () => {
        for (const one of asked.result as Stored[]) {
          if (one.user !== user) continue;
          const after = one.owner === from ? { ...one, owner: taken.get(one.key) ?? to } : one;
          if (after !== one) store.put(after);
          all.push(after);
        }
      };
      return all;
    });
    return all.sort(byOrder);
  }

  /** Takes one failed change over to send it again; null: it is gone, or somebody did so already. */
  async reclaim(key: string, owner: string): Promise<Stored | null> {
    const found = await this.#database.run(CHANGES, 'readwrite', (store) => {
      const result: { change: Stored | null } = { change: null };
      const asked = store.get(key);
      asked.onsuccess = () => {
        const one = asked.result as Stored | undefined;
        if (one?.state !== 'failed') return;
        result.change = { ...one, owner, state: 'queued', error: null };
        store.put(result.change);
      };
      return result;
    });
    return found.change;
  }

  async clear(user: string): Promise<void> {
    await this.#database.run(CHANGES, 'readwrite', (store) => {
      const asked = store.getAll();
      asked.onsuccess = () => {
        for (const one of asked.result as Stored[]) if (one.user === user) store.delete(one.key);
      };
    });
  }

  close(): void {
    this.#database.close();
  }
}

/** The order in which they were made. The disk has them by key, which is none. */
function byOrder(a: Stored, b: Stored): number {
  return a.order - b.order;
}
