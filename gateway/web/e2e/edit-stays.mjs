// A message is changed while others write and while one looks elsewhere: its text and the focus stay where
// they are, however far the message is out of view.
import assert from 'node:assert/strict';
import { scenario, until } from './stage/index.mjs';

/** More than is drawn at once. */
const MANY = 70;

await scenario('edit-stays', async (stage) => {
  const line = await stage.line();
  const ada = await stage.person('ada', { line });
  const keys = ada.page.keyboard;
  const box = ada.page.getByRole('textbox', { name: 'Edit the message' });
  const composer = ada.composer('engines');
  const view = ada.messages();
  await ada.register();
  await ada.createRoom('tools');
  const room = await ada.createRoom('engines');
  const bob = await stage.api().register('bob');
  await bob.call('POST', `/api/rooms/${room}/join`);
  let said = 0;
  async function bobTalks(many = MANY) {
    for (let left = many; left > 0; left -= 1) await bob.send(room, `word ${(said += 1)}`);
  }
  /** They come in below what is in view. */
  async function bobTalksBelow(many) {
    await bobTalks(many);
    await ada.page.getByRole('button', { name: `${many} new messages` }).waitFor();
  }
  const has = (field) => field.evaluate((it) => it === document.activeElement);
  const isInView = () => box.evaluate((it) => {
    const own = it.getBoundingClientRect();
    const around = it.closest('[role=region]').getBoundingClientRect();
    return own.top >= around.top && own.bottom <= around.bottom;
  });
  const scroll = (to) => view.evaluate((it, where) => {
    it.scrollTop = where === 'end' ? it.scrollHeight : 0;
    return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  }, to);

  await bobTalks();
  await ada.sees(`word ${said}`);
  await ada.say('engines', 'to be changed');
  await ada.sees('to be changed');
  await keys.press('ArrowUp');
  await until('the box is open', () => has(box));
  await keys.type(' by ada');

  // Others push it out of view, and the keys go on reaching it; it comes back to who writes in it.
  await bobTalks();
  await ada.sees(`word ${said}`);
  assert.ok(await has(box), 'the focus stays while others write');
  assert.equal(await isInView(), false);
  await keys.type(' her');
  await until('the box is in view', isInView);
  await keys.type('self');
  assert.equal(await box.inputValue(), 'to be changed by ada herself');
  await bobTalksBelow(3);
  assert.ok(await isInView(), 'others do not move it away from who is there');

  // One looks elsewhere, and writes something else: nothing takes the focus from that.
  await scroll('end');
  await composer.click();
  await keys.type('a new');
  for (const to of ['start', 'end', 'start']) {
    await scroll(to);
    await keys.type(' word');
    assert.ok(await has(composer), `the focus stays when one is at the ${to}`);
  }
  await bobTalksBelow(4);
  assert.equal(await composer.inputValue(), 'a new word word word');
  assert.equal(await box.inputValue(), 'to be changed by ada herself');

  // Another room, and back.
  await ada.enter('tools');
  await ada.enter('engines');
  assert.ok(await has(composer));
  assert.equal(await box.inputValue(), 'to be changed by ada herself');
  await box.click();
  await keys.press('End');
  await keys.type('.');
  await keys.press('Enter');
  await box.waitFor({ state: 'hidden' });
  assert.ok(await has(composer), 'who is done writes on');
  await composer.fill('');

  // The last own message may be far away; Esc leaves it as it was.
  await scroll('end');
  await keys.press('ArrowUp');
  await until('the box is open and in view', async () => (await has(box)) && isInView());
  assert.equal(await box.inputValue(), 'to be changed by ada herself.');
  await keys.type(' not');
  await keys.press('Escape');
  await box.waitFor({ state: 'hidden' });
  await keys.press('ArrowUp');
  assert.equal(await box.inputValue(), 'to be changed by ada herself.');
  await keys.press('Escape');
  await box.waitFor({ state: 'hidden' });

  // Saved while the line is cut: its box, drawn anew, waits for the answer too, and goes with it.
  stage.expects({ text: /^Failed to load resource: /, place: /^\/favicon/ });
  line.cut();
  await ada.page.getByText(/offline|connecting|reconnect|no connection|not connected/i).first().waitFor();
  await keys.press('ArrowUp');
  await until('the box is open', () => has(box));
  await keys.type(' Twice');
  await keys.press('Enter');
  await ada.enter('tools');
  await ada.enter('engines');
  await box.click();
  await keys.type(' and not more');
  assert.equal(await box.inputValue(), 'to be changed by ada herself. Twice');
  line.mend();
  await box.waitFor({ state: 'hidden' });
  await until('who waited for it writes on', () => has(composer));
  await keys.press('ArrowUp');
  assert.equal(await box.inputValue(), 'to be changed by ada herself. Twice');
  assert.ok((await bob.history(room)).some((one) => one.body === 'to be changed by ada herself. Twice'));
});
