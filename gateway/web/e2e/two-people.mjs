// Two people meet in a room and talk, with everything that is done to a message.
import assert from 'node:assert/strict';
import { scenario, until } from './stage/index.mjs';

await scenario('two-people', async (stage) => {
  const ada = await stage.person('ada');
  const bob = await stage.person('bob');
  await ada.register();
  await bob.register();
  const room = await ada.createRoom('engines');
  await stage.joins(bob, room, 'engines');

  // Each sees the other's, and both the same order.
  for (let round = 1; round <= 5; round += 1) {
    await ada.say('engines', `ada ${round}`);
    await bob.sees(`ada ${round}`);
    await bob.say('engines', `bob ${round}`);
    await ada.sees(`bob ${round}`);
  }
  const expected = [1, 2, 3, 4, 5].flatMap((round) => [`ada ${round}`, `bob ${round}`]);
  for (const person of [ada, bob]) {
    const bodies = (await person.readAll()).map((row) => row.body).filter((body) => body !== null);
    assert.deepEqual(bodies, expected, `what ${person.name} sees`);
  }

  // Typing is seen before anything is sent.
  await ada.composer('engines').pressSequentially('a long thought');
  await bob.page.getByText(/ada is typing/).first().waitFor();
  await ada.composer('engines').fill('');

  // A reaction.
  await bob.row('ada 5').hover();
  await bob.row('ada 5').getByRole('button', { name: /^React with/ }).first().click();
  await until('ada sees the reaction', async () => (await ada.row('ada 5').getByRole('button', { name: /1/ }).count()) > 0);

  // A reply.
  await bob.row('ada 1').first().hover();
  await bob.row('ada 1').first().getByRole('button', { name: 'Reply', exact: true }).click();
  await bob.say('engines', 'the answer to it');
  await ada.sees('the answer to it');
  assert.match(await ada.row('the answer to it').innerText(), /ada 1/, 'the reply shows what it answers');

  // An edit, by the key for it.
  await ada.say('engines', 'with a mistaek');
  await bob.sees('with a mistaek');
  await ada.composer('engines').press('ArrowUp');
  const edit = ada.messages().getByRole('textbox');
  await edit.fill('without a mistake');
  await edit.press('Enter');
  await bob.sees('without a mistake');
  await until('the old text is gone', async () => (await bob.row('with a mistaek').count()) === 0);
  assert.match(await bob.row('without a mistake').innerText(), /edited/);

  // A deletion.
  const last = ada.row('without a mistake');
  await last.focus();
  await last.press('Delete');
  await ada.page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await until('bob sees it gone', async () => (await bob.row('without a mistake').count()) === 0);
  await bob.row('Message deleted').first().waitFor();

  // What the server holds is what they saw.
  const api = await stage.api().signIn('ada');
  const held = (await api.history(room)).filter((message) => message.body !== undefined && message.body !== null);
  assert.deepEqual(held.map((message) => message.body), [...expected, 'the answer to it']);
});
