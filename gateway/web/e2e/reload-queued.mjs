// What waits to be sent outlives a reload of the page, and is sent once.
import assert from 'node:assert/strict';
import { scenario } from './stage/index.mjs';

await scenario('reload-queued', async (stage) => {
  const line = await stage.line();
  const ada = await stage.person('ada', { line });
  await ada.register();
  const room = await ada.createRoom('engines');
  await ada.say('engines', 'sent at once');
  await ada.sees('sent at once');

  line.cut();
  for (const number of [1, 2, 3]) {
    await ada.say('engines', `queued ${number}`);
    await ada.row(`queued ${number}`).getByText(/waits|connection/i).waitFor();
  }
  const api = await stage.api().signIn('ada');
  assert.deepEqual((await api.history(room)).map((one) => one.body), ['sent at once'], 'nothing got through');

  await ada.page.close();
  line.mend();
  const again = await stage.tabOf(ada);
  await again.open(`/r/${room}`);
  for (const number of [1, 2, 3]) await again.sees(`queued ${number}`);
  assert.deepEqual((await api.history(room)).map((one) => one.body), ['sent at once', 'queued 1', 'queued 2', 'queued 3']);
});
