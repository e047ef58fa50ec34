// A conversation of two: found by name or from a person's card, seen at the other side, with who is there.
import assert from 'node:assert/strict';
import { scenario, until } from './stage/index.mjs';

await scenario('direct', async (stage) => {
  const ada = await stage.person('ada');
  const bob = await stage.person('bob');
  await ada.register();
  await bob.register();

  // Everybody is in the lobby: it has no list of them to look through.
  await ada.enter('lobby');
  await ada.panel('Members').getByText('Everybody is in the lobby.').waitFor();

  // Found by the first letters of a name.
  await ada.page.getByRole('button', { name: 'New direct message' }).click();
  const whom = ada.page.getByRole('dialog', { name: 'New direct message' });
  await whom.getByRole('combobox', { name: 'Name of a person' }).fill('bo');
  await whom.getByRole('option', { name: /bob/ }).click();
  await ada.isInRoom('bob');
  await ada.say('bob', 'only for you');
  await ada.sees('only for you');
  const place = ada.page.url();

  // It appears at the other side, and wants an answer.
  const row = bob.rooms().getByRole('link', { name: 'ada' });
  await until('it is counted', async () => /1\s+unread/.test(await row.innerText()));
  await bob.enter('ada');
  await bob.sees('only for you');
  await bob.say('ada', 'heard');
  await ada.sees('heard');
  await until('it is read', async () => !/unread/.test(await row.innerText()));

  // Both may pin here; nobody leaves, and no others come.
  await bob.row('only for you').hover();
  await bob.row('only for you').getByRole('button', { name: 'More actions' }).click();
  await bob.page.getByRole('dialog', { name: 'Message actions' }).getByRole('button', { name: 'Pin', exact: true }).click();
  await ada.row('only for you').getByText('Pinned').waitFor();
  assert.equal(await ada.page.getByRole('button', { name: 'Members', exact: true }).count(), 0);
  await ada.page.getByRole('button', { name: 'About this room' }).click();
  await ada.panel('About').getByText('A conversation of the two of you.').waitFor();
  assert.equal(await ada.panel('About').getByRole('button', { name: 'Leave the room…' }).count(), 0);

  // Whether the other is there stands over it.
  const bar = ada.page.locator('header').filter({ has: ada.page.getByRole('heading', { name: 'bob', level: 1 }) });
  await bar.getByText('Online').waitFor();
  await bob.page.getByRole('button', { name: 'Your menu' }).click();
  await bob.page.getByRole('button', { name: 'Show me as away' }).click();
  await bar.getByText('Away').waitFor();
  await bob.page.close();
  await bar.getByText('Offline').waitFor();

  // From a person's card and from the switcher it is the same one.
  const api = await stage.api().signIn('bob');
  const room = (await api.createRoom('engines')).id;
  await api.send(room, 'who else?');
  await stage.joins(ada, room, 'engines');
  await ada.sees('who else?');
  await ada.messages().getByRole('button', { name: 'About bob' }).click();
  await ada.page.getByRole('dialog', { name: 'About bob' }).getByRole('button', { name: 'Message' }).click();
  await ada.sees('heard');
  assert.equal(ada.page.url(), place);
  await ada.enter('engines');
  await ada.page.keyboard.press('Control+k');
  await ada.page.getByRole('combobox').fill('bob');
  await ada.page.getByRole('option', { name: /bob/ }).first().click();
  await ada.sees('heard');
  assert.equal(ada.page.url(), place);
  assert.equal(await ada.rooms().getByRole('link', { name: 'bob' }).count(), 1);
});
