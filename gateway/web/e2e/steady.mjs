// Nothing jumps. What somebody reads stays where it is to the pixel, frame by frame, whatever others say,
// change and answer meanwhile; at the end the newest stays in view; and the focus stays where one writes.
// With motion, and with as little of it as a system can ask for.
import assert from 'node:assert/strict';
import { scenario, until } from './stage/index.mjs';

const BEFORE = 120;
const MEANWHILE = 30;
const LONG = Array.from({ length: 6 }, (_, line) => `and a line ${line}`).join('\n');

/** Notes after each frame how far what is watched stands from where it stood, and where the focus is. */
function watch(view, keys) {
  const composer = document.activeElement;
  const place = (key) => view.querySelector(`[data-key="${key}"]`)?.getBoundingClientRect().top;
  const before = new Map(keys.map((key) => [key, place(key)]));
  const seen = { frames: 0, moved: 0, lost: [], fromEnd: 0, unfocused: 0, composer: 0 };
  const at = composer.getBoundingClientRect().top;
  window.seen = seen;
  const look = () => {
    seen.frames += 1;
    for (const [key, top] of before) {
      const now = place(key);
      if (now === undefined) seen.lost.push(key);
      else seen.moved = Math.max(seen.moved, Math.abs(now - top));
    }
    seen.fromEnd = Math.max(seen.fromEnd, view.scrollHeight - view.scrollTop - view.clientHeight);
    seen.composer = Math.max(seen.composer, Math.abs(composer.getBoundingClientRect().top - at));
    if (document.activeElement !== composer) seen.unfocused += 1;
  };
  // A message to oneself comes after the frame was laid out.
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = look;
  const next = () => {
    if (window.seen !== seen) return;
    port2.postMessage(null);
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
}

function watched() {
  const { seen } = window;
  window.seen = null;
  return seen;
}

async function reads(stage, name, motion, room, bob) {
  const person = await stage.person(name, { motion });
  const { page } = person;
  await person.register();
  const carl = await stage.person('carl');
  await carl.signIn();
  await carl.enter('engines');
  await stage.joins(person, room, 'engines');
  const marks = `for ${name}`;
  await bob.send(room, `the last before ${marks}`);
  await page.getByRole('button', { name: /new messages$/ }).click();
  await person.sees(`the last before ${marks}`);
  await person.composer('engines').fill('half a thought');
  const said = async () => (await bob.history(room)).filter((one) => typeof one.body === 'string' && one.sender === 'bob').map((one) => one.seq);
  const view = person.messages();

  /** What others do: they write, long and short, change what they said, and answer with emoji. */
  const others = async (around) => {
    for (let number = 1; number <= MEANWHILE; number += 1) {
      const { seq } = await bob.send(room, number % 5 === 0 ? `${number} ${marks}\n${LONG}` : `${number} ${marks}`);
      await bob.call('PUT', `/api/rooms/${room}/messages/${seq}/reactions/${encodeURIComponent('👍')}`);
      const at = number % around.length;
      const old = around[at];
      if (number % 3 === 0) await bob.call('PUT', `/api/rooms/${room}/messages/${old}/reactions/${encodeURIComponent('🎉')}`);
      else if (number % 7 === 0) {
        await bob.call('DELETE', `/api/rooms/${room}/messages/${old}`);
        around.splice(at, 1);
      } else await bob.call('PATCH', `/api/rooms/${room}/messages/${old}`, { body: `changed ${number} ${marks}\n${LONG}` });
      if (number === 10) await carl.composer('engines').pressSequentially('also typing');
      if (number === 20) await carl.composer('engines').fill('');
    }
  };

  // At the end: what comes is in view, and so is the end of it.
  await view.evaluate(watch, []);
  await others((await said()).slice(-60, -30));
  await person.sees(`${MEANWHILE} ${marks}`);
  await person.row(`${MEANWHILE} ${marks}`).last().getByRole('button', { name: /👍 1/ }).waitFor();
  const end = await page.evaluate(watched);
  assert.ok(end.frames > 10, `${end.frames} frames were watched`);
  assert.ok(end.fromEnd < 2, `the end was ${end.fromEnd} px away (${motion})`);
  assert.equal(end.unfocused, 0, 'the focus stayed in the composer');
  assert.ok(end.composer < 1, `the composer moved by ${end.composer} px (${motion})`);

  // In the middle: what is read stays.
  await view.hover();
  for (let turn = 0; turn < 5; turn += 1) await page.mouse.wheel(0, -700);
  await page.mouse.move(0, 0);
  await person.isCalm();
  let place = -1;
  await until('it stands still', async () => {
    const now = await view.evaluate((box) => box.scrollTop);
    const still = now === place;
    place = now;
    return still;
  });
  const drawn = await view.evaluate((box) => {
    const { top, bottom } = box.getBoundingClientRect();
    return [...box.querySelectorAll('[data-seq]')].map((row) => {
      const its = row.getBoundingClientRect();
      return { key: row.dataset.key, seq: Number(row.dataset.seq), where: its.bottom <= top ? 'above' : its.top >= bottom ? 'below' : 'in view' };
    });
  });
  const of = (where) => drawn.filter((row) => row.where === where);
  assert.ok(of('in view').length > 4 && of('above').length > 2 && of('below').length > 2, JSON.stringify(drawn));
  await view.evaluate(watch, of('in view').map((row) => row.key));
  const around = [...of('above').slice(-8), ...of('below').slice(0, 8)].map((row) => row.seq);
  await others((await said()).filter((seq) => around.includes(seq)));
  await page.getByRole('button', { name: `${MEANWHILE} new messages` }).waitFor();
  const middle = await page.evaluate(watched);
  assert.ok(middle.frames > 10, `${middle.frames} frames were watched`);
  assert.deepEqual(middle.lost, [], 'everything stayed in the page');
  assert.ok(middle.moved < 1, `what was read moved by ${middle.moved} px (${motion})`);
  assert.equal(middle.unfocused, 0, 'the focus stayed in the composer');
  assert.ok(middle.composer < 1, `the composer moved by ${middle.composer} px (${motion})`);
  assert.equal(await person.composer('engines').inputValue(), 'half a thought');

  await page.getByRole('button', { name: `${MEANWHILE} new messages` }).click();
  await until('the newest is in view', () => view.evaluate((box) => box.scrollHeight - box.scrollTop - box.clientHeight < 2));
  await person.page.context().close();
  await carl.page.context().close();
}

await scenario('steady', async (stage) => {
  const bob = await stage.api().register('bob');
  const room = (await bob.createRoom('engines')).id;
  const carl = await stage.api().register('carl');
  await carl.call('POST', `/api/rooms/${room}/join`);
  for (let number = 1; number <= BEFORE; number += 1) await bob.send(room, number % 4 === 0 ? `before ${number}\n${LONG}` : `before ${number}`);
  await reads(stage, 'ada', 'reduce', room, bob);
  await reads(stage, 'eve', 'no-preference', room, bob);
});
