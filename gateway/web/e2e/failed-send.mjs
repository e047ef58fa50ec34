// Somebody is removed from a room while their line is down. What they wrote there meanwhile is shown as
// not sent once they can see the room again, and they send the one and drop the other.
import assert from 'node:assert/strict';
import { scenario, until } from './stage/index.mjs';

await scenario('failed-send', async (stage) => {
  const bob = await stage.api().register('bob');
  const room = (await bob.createRoom('engines')).id;
  const line = await stage.line();
  const ada = await stage.person('ada', { line });
  await ada.register();
  await stage.joins(ada, room, 'engines');
  await ada.say('engines', 'before');
  await ada.sees('before');
  const me = (await (await stage.api().signIn('ada')).me()).id;

  line.cut();
  for (const text of ['worth sending', 'not worth it']) {
    await ada.say('engines', text);
    await ada.row(text).getByText('Waits for the connection').waitFor();
  }
  await bob.call('DELETE', `/api/rooms/${room}/members/${me}`);
  await bob.send(room, 'while ada was away');
  line.mend();
  await ada.page.getByText('You are not in this room any more.').waitFor();
  await until('it is not in the list', async () => (await ada.rooms().getByRole('link', { name: 'engines' }).count()) === 0);

  // In the room again, it is said of both that they were refused.
  await ada.page.getByRole('button', { name: 'Browse public rooms' }).click();
  await ada.page.getByRole('button', { name: 'Join engines' }).click();
  await ada.isInRoom('engines');
  await ada.sees('while ada was away');
  const failed = (text) => ada.row(text).filter({ hasText: 'Not sent' });
  for (const text of ['worth sending', 'not worth it']) await failed(text).waitFor();
  await ada.page.reload();
  for (const text of ['worth sending', 'not worth it']) await failed(text).waitFor();

  // By keys: the focus goes on to where the next is written, or stays with what is sent again.
  await failed('not worth it').focus();
  await ada.page.keyboard.press('Tab');
  await ada.page.keyboard.press('Tab');
  await ada.page.keyboard.press('Enter');
  await until('it is gone', async () => (await ada.row('not worth it').count()) === 0);
  assert.ok(await ada.composer('engines').evaluate((box) => document.activeElement === box), 'the composer has the focus');
  await failed('worth sending').focus();
  await ada.page.keyboard.press('Tab');
  await ada.page.keyboard.press('Enter');
  await ada.sees('worth sending');
  await until('nothing is said of it any more', async () => (await ada.row('Not sent').count()) === 0);
  const focused = () => ada.page.evaluate(() => document.activeElement?.closest('[data-key]')?.textContent ?? 'nothing of it');
  assert.match(await focused(), /worth sending/, 'it has the focus');
  await ada.page.reload();
  await ada.sees('worth sending');
  assert.equal(await ada.row('not worth it').count(), 0, 'what was dropped does not come back');
  const bodies = (await bob.history(room)).map((one) => one.body);
  assert.deepEqual(bodies, ['before', 'while ada was away', 'worth sending']);

});
