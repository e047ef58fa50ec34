// How smoothly a busy room is drawn: others send 50 messages a second for 15 s, and the page counts its
// frames. The figures are printed and bound nothing; what is asserted is that every message is shown.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { scenario } from './stage/index.mjs';

const HISTORY = 400;
const WRITERS = 10;
const A_SECOND = 50;
const FOR_MS = 15_000;

const WORDS = ['The bearing **held**', 'see https://example.com/run/118', '> no faults\n\nand none since', 'take `sensor 7` out', 'half a degree 🎉'];
const text = (n) => `${n}: ${WORDS[n % WORDS.length]}`;

await scenario('frames', async (stage) => {
  const ada = await stage.person('ada');
  await ada.register();
  const room = await ada.createRoom('engines');
  const writers = [];
  for (let at = 0; at < WRITERS; at += 1) {
    const writer = await stage.api().register(`writer-${at}`);
    await writer.call('POST', `/api/rooms/${room}/join`);
    writers.push(writer);
  }
  for (let n = 0; n < HISTORY; n += WRITERS) await Promise.all(writers.map((one, at) => one.send(room, text(n + at))));
  await ada.page.reload();
  await ada.isInRoom('engines');
  await ada.page.getByRole('button', { name: /latest message|new message|present/i }).click({ timeout: 3_000 }).catch(() => {});
  await ada.messages().getByText(/^399: /).waitFor();

  await ada.page.evaluate(() => {
    const counted = { frames: [], long: [], going: true };
    window.counted = counted;
    new PerformanceObserver((list) => counted.long.push(...list.getEntries().map((one) => one.duration))).observe({ type: 'longtask' });
    const frame = (now) => {
      counted.frames.push(now);
      if (counted.going) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  });
  const { used, end: endUse } = await useOf(ada.page);
  const begun = Date.now();
  const sent = [];
  const total = (A_SECOND * FOR_MS) / 1_000;
  for (let n = 0; n < total; n += 1) {
    const due = begun + (n * 1_000) / A_SECOND;
    if (due > Date.now()) await sleep(due - Date.now());
    sent.push(writers[n % WRITERS].send(room, text(HISTORY + n)));
  }
  await Promise.all(sent);
  const took = Date.now() - begun;
  const { frames, long } = await ada.page.evaluate(() => {
    window.counted.going = false;
    return window.counted;
  });

  const use = await used();
  await endUse();

  const times = frames.slice(1).map((at, n) => at - frames[n]).sort((a, b) => a - b);
  const part = (share) => times[Math.min(times.length - 1, Math.floor(times.length * share))].toFixed(1);
  const seconds = (frames.at(-1) - frames[0]) / 1_000;
  console.log(`frames: ${total} messages in ${(took / 1_000).toFixed(1)} s, ${(times.length / seconds).toFixed(1)} frames a second`);
  console.log(`frames: median ${part(0.5)} ms, 95th percentile ${part(0.95)} ms, longest ${part(1)} ms`);
  const each = Object.entries(use).map(([what, seconds]) => `${what} ${((seconds * 1_000) / total).toFixed(2)}`);
  console.log(`frames: ms of the page's own thread a message: ${each.join(', ')}`);
  console.log(`frames: ${long.length} long tasks, ${Math.round(long.reduce((sum, one) => sum + one, 0))} ms in all, longest ${Math.round(Math.max(0, ...long))} ms`);

  // Every message is shown, in the order of the log.
  const held = await (await stage.api().signIn('ada')).history(room);
  assert.equal(held.length, HISTORY + total);
  await ada.messages().locator(`[data-seq="${held.at(-1).seq}"]`).waitFor();
  const shown = new Set((await ada.readAll()).map((row) => row.seq));
  assert.deepEqual(held.filter((one) => !shown.has(one.seq)), [], 'these are not shown');
});

/** What a page's thread has used from now on, in seconds of CPU, which a busy machine does not change. */
async function useOf(page) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Performance.enable', { timeDomain: 'threadTicks' });
  const read = async () => {
    const { metrics } = await devtools.send('Performance.getMetrics');
    const of = (name) => metrics.find((one) => one.name === name)?.value ?? 0;
    return { all: of('TaskDuration'), script: of('ScriptDuration'), style: of('RecalcStyleDuration'), layout: of('LayoutDuration') };
  };
  const before = await read();
  const used = async () => Object.fromEntries(Object.entries(await read()).map(([what, value]) => [what, value - before[what]]));
  return { used, end: () => devtools.detach() };
}
