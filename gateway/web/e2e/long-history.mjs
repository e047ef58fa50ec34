// A room of ten thousand messages: whoever scrolls through it has only a few of them in the page at a
// time, and they are the right ones.
import assert from 'node:assert/strict';
import { scenario } from './stage/index.mjs';

const MESSAGES = 10_000;
const WRITERS = 20;
/** What is near the view, and a page around it. */
const DRAWN_MAX = 150;
const NODES_MAX = 6_000;
const TURNS = 60;

await scenario('long-history', async (stage) => {
  const ada = await stage.person('ada');
  await ada.register();
  const room = await ada.createRoom('archive');
  let next = 0;
  await Promise.all(Array.from({ length: WRITERS }, async (_, at) => {
    const writer = await stage.api().register(`writer-${at}`);
    await writer.call('POST', `/api/rooms/${room}/join`);
    while (next < MESSAGES) {
      next += 1;
      await writer.send(room, `message number ${next} of many`);
    }
  }));
  const api = await stage.api().signIn('ada');
  const held = new Map((await api.history(room)).map((one) => [one.seq, one.body]));
  assert.equal(held.size, MESSAGES);

  await ada.page.reload();
  await ada.isInRoom('archive');
  const last = [...held.values()].at(-1);
  // It may open at the first that is unread.
  await ada.page.getByRole('button', { name: /latest message|new message|present/i }).click({ timeout: 3_000 }).catch(() => {});
  await ada.sees(last);
  const view = ada.messages();
  const seen = new Set();
  const look = async () => {
    const rows = (await ada.drawn()).filter((row) => row.seq !== null);
    const nodes = await ada.page.evaluate(() => document.getElementsByTagName('*').length);
    assert.ok(rows.length <= DRAWN_MAX, `${rows.length} messages are drawn at once`);
    assert.ok(nodes <= NODES_MAX, `${nodes} elements are in the page`);
    rows.forEach((row, at) => {
      if (row.body !== null) assert.equal(row.body, held.get(row.seq), `message ${row.seq}`);
      if (at > 0) assert.ok(row.seq > rows[at - 1].seq, `${row.seq} stands after ${rows[at - 1].seq}`);
      seen.add(row.seq);
    });
  };
  // Up by the wheel, as far as it goes in so many turns.
  await view.hover();
  for (let turn = 0; turn < TURNS; turn += 1) {
    await ada.page.mouse.wheel(0, -5_000);
    await ada.page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    await ada.isCalm();
    await look();
  }
  const oldest = Math.min(...seen);
  assert.ok(oldest < MESSAGES - 1_000, `it got to message ${oldest} only`);
  // And down to the end by the button.
  await ada.page.getByRole('button', { name: /latest message|new message|present/i }).click();
  await ada.sees(last);
  await look();
});
