// The people of a private room: one is invited by name, sees it appear, is given a role, is there and
// away, is removed and leaves; and what a moderator changes about the room itself.
import assert from 'node:assert/strict';
import { scenario, until } from './stage/index.mjs';

await scenario('members', async (stage) => {
  const ada = await stage.person('ada');
  const bob = await stage.person('bob');
  await ada.register();
  await bob.register();
  const carl = await stage.person('carl');
  await carl.register();
  const room = await ada.createRoom('engines', 'Private');

  // Only those who are invited see it.
  await bob.open('/browse');
  await bob.page.getByText('There are no public rooms yet').waitFor();

  await ada.panel('Members').getByRole('button', { name: 'Invite' }).click();
  const invite = ada.page.getByRole('dialog', { name: 'Invite people to engines' });
  const name = invite.getByRole('searchbox', { name: 'Name of a person' });
  await name.fill('zzz');
  await invite.getByText('Nobody by that name').waitFor();
  for (const guest of ['bob', 'carl']) {
    await name.fill(guest);
    await invite.getByRole('button', { name: `Add ${guest}` }).click();
    await invite.getByText('Added').waitFor();
  }
  await name.fill('ada');
  await invite.getByText('In the room').waitFor();
  await invite.getByRole('button', { name: 'Close' }).click();
  await invite.waitFor({ state: 'hidden' });
  for (const guest of [bob, carl]) await guest.enter('engines');

  // Who is there, with their roles, as everybody sees it.
  const member = (name) => ada.panel('Members').getByRole('listitem').filter({ hasText: name });
  const roles = (person) => person.panel('Members').locator('section').evaluateAll((all) => all.map((one) => [
    one.querySelector('h3').innerText.toLowerCase(),
    ...[...one.querySelectorAll('li .cut')].map((member) => member.innerText),
  ].join(' ')));
  const areRoles = (person, wanted) => until(`${person.name} sees ${wanted}`, async () => {
    const seen = await roles(person);
    if (seen.join() !== wanted.join()) throw new Error(seen.join());
    return true;
  });
  await areRoles(ada, ['owners 1 ada you', 'members 2 bob carl']);
  await areRoles(bob, ['owners 1 ada', 'members 2 bob you carl']);
  assert.equal(await bob.panel('Members').getByRole('button', { name: 'Invite' }).count(), 0);
  const act = async (on, what) => {
    await member(on).getByRole('button').first().click();
    await ada.page.getByRole('dialog', { name: `Actions for ${on}` }).getByRole('button', { name: what }).click();
  };
  await act('bob', 'Make a moderator');
  for (const person of [ada, bob, carl]) {
    const you = (name) => (name === person.name ? `${name} you` : name);
    await areRoles(person, [`owners 1 ${you('ada')}`, `moderators 1 ${you('bob')}`, `members 1 ${you('carl')}`]);
  }
  await bob.panel('Members').getByRole('button', { name: 'Invite' }).waitFor();

  // Somebody goes, and comes back.
  const there = (status) => member('carl').filter({ hasText: status }).waitFor();
  await there('online');
  await carl.page.close();
  await there('offline');
  const again = await stage.tabOf(carl);
  await again.open(`/r/${room}`);
  await there('online');

  // A card says who somebody is, and leads to them.
  await bob.say('engines', 'the pistons are in');
  await ada.sees('the pistons are in');
  await ada.messages().getByRole('button', { name: 'About bob' }).click();
  const card = ada.page.getByRole('dialog', { name: 'About bob' });
  await card.getByText('Online').waitFor();
  await ada.page.keyboard.press('Escape');
  await card.waitFor({ state: 'hidden' });

  // The new moderator pins it, and everybody finds it.
  const menu = async (what) => {
    await bob.row('the pistons are in').hover();
    await bob.row('the pistons are in').getByRole('button', { name: 'More actions' }).click();
    await bob.page.getByRole('dialog', { name: 'Message actions' }).getByRole('button', { name: what, exact: true }).click();
  };
  await menu('Pin');
  await ada.page.getByRole('button', { name: 'Pinned messages' }).click();
  await ada.panel('Pinned messages').getByRole('listitem').filter({ hasText: 'the pistons are in' }).waitFor();
  await ada.row('the pistons are in').getByText('Pinned').waitFor();
  await menu('Unpin');
  await ada.panel('Pinned messages').getByText('Nothing is pinned here').waitFor();
  await until('it has no mark', async () => (await ada.row('the pistons are in').getByText('Pinned').count()) === 0);

  // Another name and a topic.
  await ada.page.getByRole('button', { name: 'About this room' }).click();
  const about = ada.panel('About this room');
  await about.getByRole('button', { name: 'Change' }).click();
  await about.getByLabel('Name', { exact: true }).fill('motors');
  await about.getByLabel('Topic').fill('What turns');
  await about.getByRole('button', { name: 'Save' }).click();
  for (const person of [ada, bob, again]) {
    await person.isInRoom('motors');
    await person.page.locator('header').getByText('What turns').waitFor();
    await person.rooms().getByRole('link', { name: 'motors' }).waitFor();
  }

  // One is removed, another leaves.
  await ada.page.getByRole('button', { name: 'Members', exact: true }).click();
  await act('carl', 'Remove from the room…');
  await ada.page.getByRole('dialog', { name: 'Remove carl?' }).getByRole('button', { name: 'Remove' }).click();
  await areRoles(ada, ['owners 1 ada you', 'moderators 1 bob']);
  await again.page.getByText('You are not in this room any more.').waitFor();
  await until('it is not in their list', async () => (await again.rooms().getByRole('link', { name: 'motors' }).count()) === 0);

  await bob.page.getByRole('button', { name: 'About this room' }).click();
  const leave = () => bob.panel('About this room').getByRole('button', { name: 'Leave the room…' }).click();
  const sure = bob.page.getByRole('dialog', { name: 'Leave motors?' });
  await leave();
  await sure.getByText('only when somebody invites you').waitFor();
  await sure.getByRole('button', { name: 'Cancel' }).click();
  await sure.waitFor({ state: 'hidden' });
  await bob.rooms().getByRole('link', { name: 'motors' }).waitFor();
  await leave();
  await sure.getByRole('button', { name: 'Leave' }).click();
  await bob.page.getByText('You left motors').waitFor();
  await until('it is not in the list', async () => (await bob.rooms().getByRole('link', { name: 'motors' }).count()) === 0);
  await areRoles(ada, ['owners 1 ada you']);
});
