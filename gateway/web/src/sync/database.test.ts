import { IDBFactory } from 'fake-indexeddb';
import { expect, it } from 'vitest';
import { CHANGES, Database, LEASES, PEOPLE } from './database.ts';

/** As the first release made it, with a page of it that has it open. */
function older(factory: IDBFactory): Promise<IDBDatabase> {
  return new Promise((resolve) => {
    const request = factory.open('parlance', 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore('changes', { keyPath: 'key' }).put({ key: 'k', body: 'unsent' });
      request.result.createObjectStore('leases', { keyPath: 'name' });
    };
    request.onsuccess = () => {
      const database = request.result;
      database.onversionchange = () => database.close();
      resolve(database);
    };
  });
}

it('the database of an older release gets what it lacks and keeps what it has', async () => {
  const factory = new IDBFactory();
  await older(factory);
  const database = new Database(factory);
  const counts = await Promise.all([CHANGES, LEASES, PEOPLE].map((store) => database.run(store, 'readonly', (all) => all.count())));
  expect(counts.map((count) => count.result)).toEqual([1, 0, 0]);
  await database.close();
});
