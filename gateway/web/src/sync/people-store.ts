// What people call themselves, on disk: so that a page that is loaded again shows names from its beginning.
// Names only, and those that one account sees.
import { Database, type Disk, NAMES, PEOPLE } from './database.ts';
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
  readonly #database: Database;
  #reading: Promise<KeptName[]> | null = null;

  constructor(disk: Disk) {
    this.#database = new Database(disk, NAMES);
  }

  /** Begins to read while it is not known yet who is signed in: opening a database takes longer than one waits. */
  begin(): void {
    this.#reading = this.#read();
    this.#reading.catch(() => {});
  }

  /** The names that an account sees, the newest first. What another one left here goes, and so do the oldest over the bound. */
  async load(user: string): Promise<KeptName[]> {
    const reading = this.#reading ?? this.#read();
    this.#reading = null;
    const all = (await reading).sort((a, b) => b.at - a.at);
    const kept = all.filter((one) => one.user === user).slice(0, PEOPLE_MAX);
    const isKept = new Set(kept);
    await this.#remove(all.filter((one) => !isKept.has(one)));
    return kept;
  }

  /** What an account sees, by id: another name, or null where there is none to keep. */
  async write(user: string, names: ReadonlyMap<string, KeptName | null>): Promise<void> {
    if (names.size === 0) return;
    await this.#database.run(PEOPLE, 'readwrite', (store) => {
      for (const [id, name] of names) {
        if (name === null) store.delete([user, id]);
        else store.put(name);
      }
    });
  }

  async clear(): Promise<void> {
    // What was read at the beginning of the page is of whoever was signed in then.
    this.#reading = null;
    await this.#database.run(PEOPLE, 'readwrite', (store) => void store.clear());
  }

  close(): void {
    this.#database.close();
  }

  async #read(): Promise<KeptName[]> {
    const asked = await this.#database.run(PEOPLE, 'readonly', (store) => store.getAll());
    return asked.result as KeptName[];
  }

  async #remove(names: readonly KeptName[]): Promise<void> {
    if (names.length === 0) return;
    await this.#database.run(PEOPLE, 'readwrite', (store) => {
      for (const { user, id } of names) store.delete([user, id]);
    });
  }
}
