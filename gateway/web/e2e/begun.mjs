// What somebody began to write waits for them: while they are in another room, over a reload, in each
// room its own; and it is gone once it is sent.
import assert from 'node:assert/strict';
import { scenario, until } from './stage/index.mjs';

await scenario('begun', async (stage) => {
  const ada = await stage.person('ada');
  await ada.register();
  const engines = await ada.createRoom('engines');
  await ada.createRoom('lunch');
  const draft = (room) => ada.composer(room).inputValue();
  const holds = async (room, text) => {
    await ada.isInRoom(room);
    assert.equal(await draft(room), text, `what is begun in ${room}`);
  };

  await holds('lunch', '');
  await ada.composer('lunch').pressSequentially('soup?\nor');
  // Enter sent the first line; what came after it is the draft.
  await ada.sees('soup?');
  await ada.enter('engines');
  await holds('engines', '');
  await ada.composer('engines').pressSequentially('the bearing is');
  await ada.page.keyboard.press('Shift+Enter');
  await ada.page.keyboard.type('worn');
  await ada.enter('lunch');
  await holds('lunch', 'or');
  await ada.enter('engines');
  await holds('engines', 'the bearing is\nworn');
  const height = (await ada.composer('engines').boundingBox()).height;

  // The page goes, and comes back; the box is as high as what stands in it.
  await ada.page.reload();
  await holds('engines', 'the bearing is\nworn');
  await until('both lines show', async () => (await ada.composer('engines').boundingBox()).height === height);
  await ada.page.close();
  const again = await stage.tabOf(ada);
  await again.open(`/r/${engines}`);
  await again.isInRoom('engines');
  assert.equal(await again.composer('engines').inputValue(), 'the bearing is\nworn');

  // Sent, it is no draft any more: not here, and not after a reload.
  await again.composer('engines').press('Enter');
  await again.sees('the bearing is');
  assert.equal(await again.composer('engines').inputValue(), '');
  await again.page.reload();
  await again.isInRoom('engines');
  await again.sees('the bearing is');
  assert.equal(await again.composer('engines').inputValue(), '');
  await again.enter('lunch');
  assert.equal(await again.composer('lunch').inputValue(), 'or', 'the other one waits on');

  // Emptied by hand, it is gone too.
  await again.composer('lunch').fill('');
  await again.page.reload();
  await again.isInRoom('lunch');
  assert.equal(await again.composer('lunch').inputValue(), '');

  // Who signs in after somebody does not find what they began.
  await again.composer('lunch').fill('for nobody else');
  await again.page.getByRole('button', { name: 'Your menu' }).click();
  await again.page.getByRole('button', { name: 'Sign out' }).click();
  await again.page.getByRole('heading', { name: 'Sign in to Parlance' }).waitFor();
  const kept = await again.page.evaluate(() => JSON.stringify({ ...localStorage }));
  assert.ok(!kept.includes('for nobody else'), 'signed out, the browser keeps nothing of it');
});
