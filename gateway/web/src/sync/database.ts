// The browser's database: one small place for changes without an answer, for what people call themselves,
// and for leases where the browser has no locks. Opening it again after a failure is tried with every use.

const NAME = 'parlance';
/** Higher with each store that comes: a database of an older release gets those that it lacks. */
const VERSION = 2;
export const CHANGES = 'changes';
export const LEASES = 'leases';
export const PEOPLE = 'people';

const KEY_PATHS: readonly (readonly [string, string | string[]])[] = [
  [CHANGES, 'key'],
  [LEASES, 'name'],
  [PEOPLE, ['user', 'id']],
];

export class Database {
  readonly #factory: IDBFactory | null;
  #open: Promise<IDBDatabase> | null = null;

  constructor(factory: IDBFactory | null) {
    this.#factory = factory;
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

  async close(): Promise<void> {
    const open = this.#open;
    this.#open = null;
    (await open)?.close();
  }

  #opened(): Promise<IDBDatabase> {
    this.#open ??= this.#begin().catch((error: unknown) => {
      this.#open = null;
      throw error;
    });
    return this.#open;
  }

  #begin(): Promise<IDBDatabase> {
    const factory = this.#factory;
    if (factory === null) return Promise.reject(new Error('there is no database'));
    return new Promise((resolve, reject) => {
      const request = factory.open(NAME, VERSION);
      request.onupgradeneeded = () => {
        const { result: database } = request;
        for (const [name, keyPath] of KEY_PATHS) {
          if (!database.objectStoreNames.contains(name)) database.createObjectStore(name, { keyPath });
        }
      };
      request.onerror = () => reject(request.error ?? new Error('the database cannot be opened'));
      request.onsuccess = () => {
        const database = request.result;
        // A newer page wants another version: let it.
        database.onversionchange = () => {
          database.close();
          this.#open = null;
        };
        database.onclose = () => (this.#open = null);
        resolve(database);
      };
    });
  }
}
