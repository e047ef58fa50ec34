// Somebody who joins late sees everything that was said before.
import assert from 'node:assert/strict';
import { scenario } from './stage/index.mjs';

const BEFORE = 120;

await scenario('late-joiner', async (stage) => {
  const ada = await stage.person('ada');
  await ada.register();
  const room = await ada.createRoom('engines');
  const api = await stage.api().signIn('ada');
  for (let number = 1; number <= BEFORE; number += 1) await api.send(room, `said before ${number}`);

  const carl = await stage.person('carl');
  await carl.register();
  await stage.joins(carl, room, 'engines');
  const bodies = (await carl.readAll()).map((row) => row.body).filter((body) => body !== null);
  assert.deepEqual(bodies, Array.from({ length: BEFORE }, (_, at) => `said before ${at + 1}`));

  // And what comes next, in both directions.
  await ada.say('engines', 'welcome');
  await carl.sees('welcome');
  await carl.say('engines', 'hello all');
  await ada.sees('hello all');
});
