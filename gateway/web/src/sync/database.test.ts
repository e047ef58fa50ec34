// The browser's databases, beside pages of the release before, and where they do not answer.
import { IDBFactory } from 'fake-indexeddb';
import { expect, it } from 'vitest';
import { CHANGES, Database, LEASES, NAMES, PEOPLE, WORK } from './database.ts';
import { DISK_WAIT } from './limits.ts';
import { FakeClock } from './testkit/clock.ts';

const clock = new FakeClock();

/** As a page of the first release opens it; it lets nobody have it while it lives. */
function older(factory: IDBFactory): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = factory.open('parlance', 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore('changes', { keyPath: 'key' });
      request.result.createObjectStore('leases', { keyPath: 'name' });
    };
    request.onerror = () => reject(request.error ?? new Error('it cannot be opened'));
    request.onsuccess = () => resolve(request.result);
  });
}

function put(database: IDBDatabase, key: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const transaction = database.transaction('changes', 'readwrite');
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new Error('it gave up'));
    transaction.objectStore('changes').put({ key });
  });
}

it('a page of the release before goes on keeping changes on disk beside a new one', async () => {
  const indexedDb = new IDBFactory();
  const before = await older(indexedDb);
  await put(before, 'a');
  const [work, names] = [new Database({ indexedDb, clock }, WORK), new Database({ indexedDb, clock }, NAMES)];
  expect((await names.run(PEOPLE, 'readonly', (store) => store.count())).result).toBe(0);
  expect((await work.run(LEASES, 'readonly', (store) => store.count())).result).toBe(0);
  await put(before, 'b');
  const all = await work.run(CHANGES, 'readonly', (store) => store.getAllKeys());
  expect(all.result).toEqual(['a', 'b']);
});

it('the release before finds what a page left on disk after the servers went back', async () => {
  const indexedDb = new IDBFactory();
  const work = new Database({ indexedDb, clock }, WORK);
  await work.run(CHANGES, 'readwrite', (store) => void store.put({ key: 'a' }));
  work.close();
  const before = await older(indexedDb);
  expect([before.version, [...before.objectStoreNames]]).toEqual([1, ['changes', 'leases']]);
  await put(before, 'b');
});

it('one that does not answer counts as none, and is opened anew by who asks next', async () => {
  const indexedDb = new IDBFactory();
  let isStuck = true;
  const open = (name: string, version: number): unknown => (isStuck ? {} : indexedDb.open(name, version));
  const work = new Database({ indexedDb: { open } as unknown as IDBFactory, clock }, WORK);
  const asked = work.run(CHANGES, 'readonly', (store) => store.count()).catch((error: Error) => error.message);
  await clock.run(DISK_WAIT);
  expect(await asked).toBe('the database does not answer');
  isStuck = false;
  expect((await work.run(CHANGES, 'readonly', (store) => store.count())).result).toBe(0);
});

it('one that another page holds counts as none, and what comes too late is given back', async () => {
  const indexedDb = new IDBFactory();
  const before = await older(indexedDb);
  indexedDb.deleteDatabase('parlance');
  const work = new Database({ indexedDb, clock }, WORK);
  const asked = work.run(CHANGES, 'readonly', (store) => store.count()).catch((error: Error) => error.message);
  await clock.run(DISK_WAIT);
  expect(await asked).toBe('the database does not answer');
  before.close();
  await clock.settle();
  await new Promise<void>((resolve) => (indexedDb.deleteDatabase('parlance').onsuccess = () => resolve()));
});
