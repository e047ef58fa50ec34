// What is being written in a room is there in every tab, with what it answers; it comes back with the room
// and with the page, and is gone everywhere when it is sent.
import assert from 'node:assert/strict';
import { scenario, until } from './stage/index.mjs';

await scenario('one-draft', async (stage) => {
  const ada = await stage.person('ada');
  await ada.register();
  await ada.createRoom('tools');
  const room = await ada.createRoom('engines');
  await ada.say('engines', 'what it answers');
  await ada.sees('what it answers');
  const tab = await stage.tabOf(ada);
  await tab.open(`/r/${room}`);
  await tab.isInRoom('engines');

  const holds = (person, text) => until(`${text} is in the composer`, async () => (await person.composer('engines').inputValue()) === text);
  const answers = (person) => person.page.getByText('Replying to ada: what it answers').waitFor();

  // One draft in both tabs, whichever of them writes on.
  await ada.row('what it answers').hover();
  await ada.row('what it answers').getByRole('button', { name: 'Reply' }).click();
  await ada.composer('engines').pressSequentially('half a');
  await holds(tab, 'half a');
  await answers(tab);
  await tab.composer('engines').press('End');
  await tab.composer('engines').pressSequentially(' thou');
  await holds(ada, 'half a thou');

  // Another room and back; the page anew.
  await ada.enter('tools');
  assert.equal(await ada.composer('tools').inputValue(), '');
  await ada.enter('engines');
  await holds(ada, 'half a thou');
  await answers(ada);
  await tab.page.reload();
  await tab.isInRoom('engines');
  await holds(tab, 'half a thou');
  await answers(tab);

  // Sent once, and gone in both.
  await ada.composer('engines').press('End');
  await ada.composer('engines').pressSequentially('ght');
  await ada.composer('engines').press('Enter');
  await tab.sees('half a thought');
  await holds(tab, '');
  assert.equal(await tab.page.getByText('Replying to').count(), 0);
  await tab.row('half a thought').getByText('In reply to').waitFor({ state: 'attached' });

  // What one tab writes after that outlives that tab.
  await tab.composer('engines').pressSequentially('the next');
  await holds(ada, 'the next');
  await tab.page.close();
  await ada.page.reload();
  await ada.isInRoom('engines');
  await holds(ada, 'the next');
});
