// The line breaks in the middle of a burst, and mends: no gap, no repeat, everything in order. What was
// written meanwhile is sent once, in the order in which it was written.
import assert from 'node:assert/strict';
import { scenario, until } from './stage/index.mjs';

const BURST = 90;

await scenario('offline', async (stage) => {
  const line = await stage.line();
  const ada = await stage.person('ada', { line });
  await ada.register();
  const room = await ada.createRoom('engines');
  const bob = await stage.api().register('bob');
  await bob.call('POST', `/api/rooms/${room}/join`);

  const said = [];
  const burst = (async () => {
    for (let number = 1; number <= BURST; number += 1) {
      await bob.send(room, `burst ${number}`);
      said.push(number);
    }
  })();
  await until('a third of it was said', () => said.length >= BURST / 3);
  line.cut();
  await ada.page.getByText(/offline|connecting|reconnect|no connection|not connected/i).first().waitFor();
  const mine = ['written offline 1', 'written offline 2', 'written offline 3'];
  for (const text of mine) await ada.say('engines', text);
  assert.equal(await ada.row('written offline').count(), mine.length, 'what is queued is shown');
  await burst;
  line.mend();
  for (const text of mine) await ada.sees(text);
  await ada.sees(`burst ${BURST}`);

  const held = await bob.history(room);
  const shown = (await ada.readAll()).filter((row) => row.body !== null);
  assert.deepEqual(
    shown.map(({ seq, body }) => ({ seq, body })),
    held.map(({ seq, body }) => ({ seq, body })),
    'the page shows what the room holds',
  );
  assert.deepEqual(held.filter((one) => one.sender === 'ada').map((one) => one.body), mine, 'each once, in order');
  assert.equal(held.length, BURST + mine.length);
});
