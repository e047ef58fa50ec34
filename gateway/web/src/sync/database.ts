// The browser's databases: small places for changes without an answer, for leases where the browser has no
// locks, and for what people call themselves. Opening one again after a failure is tried with every use.
//
// None ever gets a higher version. A page of the release before could not open it any more, and pages of two
// releases live side by side in one browser, also after the servers went back. What needs another store gets
// another database.
import type { Env } from './env.ts';
import { DISK_WAIT } from './limits.ts';

/** The part of the world that a database needs. */
export type Disk = Pick<Env, 'indexedDb' | 'clock'>;

export interface Shape {
  readonly name: string;
  /** Each store with the path of its keys. */
  readonly stores: Readonly<Record<string, string | string[]>>;
}

export const CHANGES = 'changes';
export const LEASES = 'leases';
export const PEOPLE = 'people';

/** What is to be sent, and by whom. */
export const WORK: Shape = { name: 'parlance', stores: { [CHANGES]: 'key', [LEASES]: 'name' } };
export const NAMES: Shape = { name: 'parlance-names', stores: { [PEOPLE]: ['user', 'id'] } };

export class Database {
  readonly #disk: Disk;
  readonly #shape: Shape;
  #open: Promise<IDBDatabase> | null = null;

  constructor(disk: Disk, shape: Shape) {
    this.#disk = disk;
    this.#shape = shape;
  }

  /**
   * One transaction on one store. `work` makes its requests at once or from the callbacks of earlier
   * ones, and leaves what it found in what it returns. Resolves after the commit.
   */
  async run<T>(store: string, mode: IDBTransactionMode, work: (store: IDBObjectStore) => T): Promise<T> {
    const database = await this.#opened();
    return await new Promise<T>((resolve, reject) => {
      const transaction = database.transaction(store, mode);
      let found: T;
      transaction.oncomplete = () => resolve(found);
      transaction.onerror = () => reject(transaction.error ?? new Error('the database failed'));
      transaction.onabort = () => reject(transaction.error ?? new Error('the database gave up'));
      found = work(transaction.objectStore(store));
    });
  }

  /** What was begun before goes on. */
  close(): void {
    const open = this.#open;
    this.#open = null;
    open?.then((database) => database.close(), () => {});
  }

  #opened(): Promise<IDBDatabase> {
    this.#open ??= this.#begin();
    return this.#open;
  }

  /** Whoever asks next opens it anew. */
  #lost(open: Promise<IDBDatabase>): void {
    if (this.#open === open) this.#open = null;
  }

  #begin(): Promise<IDBDatabase> {
    const { indexedDb, clock } = this.#disk;
    if (indexedDb === null) return Promise.reject(new Error('there is no database'));
    const open = new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDb.open(this.#shape.name, 1);
      const failed = (error: Error): void => {
        cancel();
        reject(error);
        // It may come all the same, when nobody waits for it any more.
        request.onsuccess = () => request.result.close();
      };
      const cancel = clock.after(DISK_WAIT, () => failed(new Error('the database does not answer')));
      request.onupgradeneeded = () => {
        for (const [name, keyPath] of Object.entries(this.#shape.stores)) request.result.createObjectStore(name, { keyPath });
      };
      request.onblocked = () => failed(new Error('another page holds the database'));
      request.onerror = () => failed(request.error ?? new Error('the database cannot be opened'));
      request.onsuccess = () => {
        cancel();
        const database = request.result;
        // Somebody wants to remove it: let them.
        database.onversionchange = () => {
          database.close();
          this.#lost(open);
        };
        database.onclose = () => this.#lost(open);
        resolve(database);
      };
    });
    open.catch(() => this.#lost(open));
    return open;
  }
}
