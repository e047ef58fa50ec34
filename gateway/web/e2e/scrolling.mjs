// What is in view moves by as much as one scrolls and by nothing else: also where older messages come in at the top,
// and where rows have other heights than when they were drawn the last time.
import assert from 'node:assert/strict';
import { scenario } from './stage/index.mjs';

const MESSAGES = 260;
const WRITERS = 5;
const STEP_PX = 150;
/** Farther than rows are drawn ahead, so that one comes to the top before older messages do. */
const STRIDE_PX = 600;
/** The height of a row is rounded to a part of a pixel. */
const EXACT_PX = 1;

/** Scrolls by so much, and says how far off its place anything stands a moment later. */
function scroll(view, by) {
  const { top, bottom } = view.getBoundingClientRect();
  const before = new Map();
  const from = view.scrollTop;
  view.scrollTop = from + by;
  const moved = view.scrollTop - from;
  for (const row of view.querySelectorAll('[data-seq]')) {
    const at = row.getBoundingClientRect();
    if (at.bottom > top && at.top < bottom) before.set(row.dataset.key, at.top);
  }
  window.before = before;
  const look = () => {
    let off = 0;
    for (const [key, at] of before) {
      const now = view.querySelector(`[data-key="${key}"]`)?.getBoundingClientRect().top;
      off = Math.max(off, now === undefined ? Infinity : Math.abs(now - at));
    }
    return { moved, off, watched: before.size };
  };
  window.look = look;
  return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(look()))));
}

await scenario('scrolling', async (stage) => {
  const ada = await stage.person('ada');
  const { page } = ada;
  await ada.register();
  const room = await ada.createRoom('engines');
  const writers = await Promise.all(Array.from({ length: WRITERS }, async (_, at) => {
    const writer = await stage.api().register(`writer-${at}`);
    await writer.call('POST', `/api/rooms/${room}/join`);
    return writer;
  }));
  for (let n = 0; n < MESSAGES; n += WRITERS) {
    await Promise.all(writers.map((writer, at) => writer.send(room, (n + at) % 9 === 0 ? `${n + at}\nin\nsome lines` : `${n + at} in one line`)));
  }
  await page.reload();
  await ada.isInRoom('engines');
  await page.getByRole('button', { name: /latest message|new message|present/i }).click({ timeout: 3_000 }).catch(() => {});
  await ada.sees(`${MESSAGES - 1} in one line`);
  const view = ada.messages();

  const steps = async (by, where) => {
    for (let step = 0; step < 400; step += 1) {
      const { moved, off, watched } = await view.evaluate(scroll, by);
      assert.ok(watched > 0, `step ${step} ${where}: nothing is in view`);
      assert.ok(off < EXACT_PX, `step ${step} of ${moved} px ${where}: something moved by ${off} px more`);
      await ada.isCalm();
      const later = await page.evaluate(() => window.look());
      assert.ok(later.off < EXACT_PX, `step ${step} of ${moved} px ${where}: what came in moved something by ${later.off} px`);
      if (moved === 0) return step;
    }
    throw new Error(`no end ${where}`);
  };

  const strides = await steps(-STRIDE_PX, 'up');
  await page.getByText('This is the beginning of the room').waitFor();
  assert.ok(strides > 10, `${strides} strides only`);
  await steps(STEP_PX, 'down');

  // Other heights than were measured, on the way back.
  await page.getByRole('button', { name: 'Settings', exact: true }).click();
  const settings = page.getByRole('dialog', { name: 'Settings' });
  await settings.getByRole('radio', { name: 'Compact' }).check();
  await page.keyboard.press('Escape');
  await settings.waitFor({ state: 'hidden' });
  await steps(-STEP_PX, 'up, compact');
  await steps(STEP_PX, 'down, compact');
});
