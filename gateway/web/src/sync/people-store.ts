// What people call themselves, on disk: so that a page that is loaded again shows names from its beginning.
// Names only, and those that one account sees.
import { Database, PEOPLE } from './database.ts';
import { PEOPLE_MAX } from './limits.ts';

export interface KeptName {
  /** The account that sees it. */
  readonly user: string;
  readonly id: string;
  readonly username: string;
  readonly name: string;
  /** When it was written. */
  readonly at: number;
}

export class PeopleStore {
  readonly #user: string;
  readonly #database: Database;

  constructor(factory: IDBFactory | null, user: string) {
    this.#user = user;
    this.#database = new Database(factory);
  }

  /** The names, the newest first. What another account left here goes, and so do the oldest over the bound. */
  async load(): Promise<KeptName[]> {
    return await this.#database.run(PEOPLE, 'readwrite', (store) => {
      const mine: KeptName[] = [];
      const asked = store.getAll();
      asked.onsuccess = () => {
        const all = (asked.result as KeptName[]).sort((a, b) => b.at - a.at);
        for (const one of all) {
          if (one.user === this.#user && mine.length < PEOPLE_MAX) mine.push(one);
          else store.delete([one.user, one.id]);
        }
      };
      return mine;
    });
  }

  /** By id: another name, or null where there is none to keep. */
  async write(names: ReadonlyMap<string, KeptName | null>): Promise<void> {
    if (names.size === 0) return;
    await this.#database.run(PEOPLE, 'readwrite', (store) => {
      for (const [id, name] of names) {
        if (name === null) store.delete([this.#user, id]);
        else store.put(name);
      }
    });
  }

  async clear(): Promise<void> {
    await this.#database.run(PEOPLE, 'readwrite', (store) => void store.clear());
  }

  close(): Promise<void> {
    return this.#database.close();
  }
}
