// Somebody gives themselves a name and says something of themselves. Others see it, find them by it, and
// always see who is behind it; without the name they are who they were.
import assert from 'node:assert/strict';
import { hasNoBarriers } from './stage/barriers.mjs';
import { scenario, until } from './stage/index.mjs';

const NAME = 'Ada Lovelace';
const ABOUT = 'Likes engines, and poetry';
/** As it is read aloud: the name is closed in itself. */
const full = (name) => `\u2068${name}\u2069 (@ada)`;
/** As long as the server takes it, and wider than a phone. */
const LONG = `Ada ${'Wide'.repeat(11)}WW`;

await scenario('profile', async (stage) => {
  const ada = await stage.person('ada');
  const bob = await stage.person('bob');
  await ada.register();
  await bob.register();
  const room = await ada.createRoom('engines');
  await stage.joins(bob, room, 'engines');
  for (const text of ['the cards are punched', 'and sorted']) await ada.say('engines', text);
  await bob.say('engines', 'well done');
  await ada.sees('well done');
  await bob.sees('and sorted');

  const settings = ada.page.getByRole('dialog', { name: 'Settings' });
  const name = settings.getByLabel('Name', { exact: true });
  const about = settings.getByLabel('About you', { exact: true });
  const save = settings.getByRole('button', { name: 'Save', exact: true });
  const saved = settings.getByText('Your profile was saved.');
  const saves = (wanted) => until(`saving ${wanted ? 'is' : 'is not'} offered`, async () => ((await save.getAttribute('aria-disabled')) === 'false') === wanted);

  // One's own card leads to where it is changed.
  await ada.messages().getByRole('button', { name: 'About ada' }).first().click();
  const own = ada.page.getByRole('dialog', { name: 'About ada' });
  await own.getByText('This is you').waitFor();
  await own.getByRole('button', { name: 'Edit profile' }).click();
  await settings.waitFor();
  await until('the name has the focus', () => name.evaluate((field) => field === document.activeElement));
  await saves(false);
  await hasNoBarriers(ada.page, 'the profile in the settings');

  // What is refused is said at its field, and what was typed stays.
  const isRefused = async (field, typed, words) => {
    await field.fill(typed);
    await saves(true);
    await save.click();
    if (words !== null) await settings.getByText(words).waitFor();
    await until(`"${typed.slice(0, 20)}" is refused`, async () => (await field.getAttribute('aria-invalid')) === 'true');
    await until('it has the focus', () => field.evaluate((one) => one === document.activeElement));
    assert.equal(await field.inputValue(), typed);
  };
  await isRefused(name, 'bob', 'This is the username of somebody else. Choose another name.');
  await hasNoBarriers(ada.page, 'a name that was refused');
  await isRefused(name, 'x'.repeat(51), 'A name has at most 50 characters.');
  await settings.getByText('1 more than the 50 characters that fit.').waitFor();
  // Only the server knows all that it refuses: text that runs the other way round, and what is not seen.
  await isRefused(name, 'Ada\u202E', null);
  await isRefused(name, 'Ada\u3164', null);
  await name.fill('');
  await isRefused(about, 'x'.repeat(201), 'This has at most 200 characters.');

  // Saved by the keyboard; at once in another tab, and in what was said before.
  const tab = await stage.tabOf(ada);
  await tab.open(`/r/${room}`);
  await tab.sees('and sorted');
  await name.fill(`  ${NAME} `);
  await about.fill(ABOUT);
  await about.press('Enter');
  await saved.waitFor();
  assert.deepEqual([await name.inputValue(), await about.inputValue()], [NAME, ABOUT]);
  await saves(false);
  await tab.page.locator('footer').getByText(NAME).waitFor();
  await tab.row('the cards are punched').getByText(NAME).waitFor();
  await tab.page.close();
  await ada.page.keyboard.press('Escape');
  await settings.waitFor({ state: 'hidden' });
  await ada.row('the cards are punched').getByText('@ada').waitFor();

  // Others see it when they look who it is, and no row moves for it.
  const places = (person = bob) => person.messages().evaluate((view) => [...view.querySelectorAll('[role="listitem"]')].map((row) => {
    const { top, height } = row.getBoundingClientRect();
    return [top, height];
  }));
  const head = bob.row('the cards are punched');
  assert.equal(await head.getByText(NAME).count(), 0);
  const before = await places();
  await bob.messages().getByRole('button', { name: 'About ada' }).first().click();
  const card = bob.page.getByRole('dialog', { name: `About ${full(NAME)}` });
  await card.getByText(ABOUT).waitFor();
  await card.getByText('@ada', { exact: true }).waitFor();
  await hasNoBarriers(bob.page, "a person's card with a name");
  await bob.page.keyboard.press('Escape');
  await card.waitFor({ state: 'hidden' });
  await head.getByText(NAME).waitFor();
  await head.getByText('@ada').waitFor();
  assert.deepEqual(await places(), before, 'no row moved when the name came');
  await bob.page.reload();
  await bob.sees('and sorted');
  await head.getByText(NAME).waitFor();
  await bob.messages().getByRole('button', { name: `About ${full(NAME)}` }).first().waitFor();

  // Found by name and by username among the members, and mentioned by the username.
  const members = bob.panel('Members');
  for (const sought of ['love', 'ada']) {
    await members.getByRole('searchbox', { name: 'Find a member' }).fill(sought);
    await until(`"${sought}" finds one`, async () => (await members.getByRole('listitem').count()) === 1);
    await members.getByRole('listitem').filter({ hasText: `${NAME} @ada` }).waitFor();
  }
  // The menu says in words whose it is.
  await members.getByRole('listitem').getByRole('button').click();
  const menu = bob.page.getByRole('dialog', { name: `Actions for ${full(NAME)}` });
  await menu.getByText('@ada', { exact: true }).waitFor();
  await hasNoBarriers(bob.page, "a member's menu");
  await bob.page.keyboard.press('Escape');
  await menu.waitFor({ state: 'hidden' });
  const box = bob.composer('engines');
  await box.pressSequentially('@love');
  await bob.page.getByRole('option', { name: `${NAME} @ada` }).waitFor();
  await box.press('Enter');
  assert.equal(await box.inputValue(), '@ada ');
  await box.press('Enter');
  await bob.row('@ada').locator(`.mention[title="${NAME}"]`).waitFor();

  // And everywhere by how the name begins: to be written to, and to be invited.
  await bob.page.keyboard.press('Control+k');
  const switcher = bob.page.getByRole('dialog', { name: 'Go to a room or a person' });
  await switcher.getByRole('combobox').fill('ada lov');
  await switcher.getByRole('option', { name: `${NAME} @ada` }).click();
  await bob.isInRoom(NAME);
  const bar = bob.page.locator('header').filter({ has: bob.page.getByRole('heading', { name: NAME, level: 1 }) });
  await bar.getByText('@ada · Online').waitFor();
  await bob.say(NAME, 'only for you');
  await bob.sees('only for you');
  await bob.rooms().getByRole('link', { name: NAME }).waitFor();
  await bob.createRoom('plans', 'Private');
  await bob.panel('Members').getByRole('button', { name: 'Invite' }).click();
  const invite = bob.page.getByRole('dialog', { name: 'Invite people to plans' });
  await invite.getByRole('searchbox', { name: 'Name of a person' }).fill('ada lov');
  await invite.getByRole('button', { name: `Add ${full(NAME)}` }).click();
  await invite.getByText('Added').waitFor();
  await invite.getByRole('button', { name: 'Close' }).click();
  await bob.messages().getByText(`${NAME} @ada was added`).waitFor();

  // In the dark, on a phone.
  const phone = await stage.person('ada', { theme: 'dark', width: 390, height: 844 });
  await phone.signIn();
  await phone.open(`/r/${room}`);
  await phone.sees('and sorted');
  await phone.row('the cards are punched').getByText(NAME).waitFor();
  await phone.messages().getByRole('button', { name: /^About .?Ada/ }).first().click();
  const mine = phone.page.getByRole('dialog', { name: `About ${full(NAME)}` });
  await mine.getByText(ABOUT).waitFor();
  await hasNoBarriers(phone.page, "one's own card (dark)", 'dark');
  await mine.getByRole('button', { name: 'Edit profile' }).click();
  await phone.page.getByRole('dialog', { name: 'Settings' }).getByText(`${NAME} @ada`).waitFor();
  await hasNoBarriers(phone.page, 'the settings (dark)', 'dark');
  await phone.page.context().close();

  // Without a name one is who one was; the line stays.
  await ada.page.getByRole('button', { name: 'Settings', exact: true }).click();
  await name.fill('');
  await save.click();
  await saved.waitFor();
  await ada.page.keyboard.press('Escape');
  await until('no other name is shown', async () => (await ada.row('the cards are punched').getByText(NAME).count()) === 0);
  await bob.open(`/r/${room}`);
  await bob.sees('and sorted');
  await bob.messages().getByRole('button', { name: 'About ada' }).first().click();
  const plain = bob.page.getByRole('dialog', { name: 'About ada' });
  await plain.getByText(ABOUT).waitFor();
  assert.equal(await plain.getByText(NAME).count(), 0);
  await until('no other name is shown', async () => (await bob.page.getByText(NAME).count()) === 0);

  // The longest name moves no row either: on a phone, where she is in every line that can show it.
  const api = await stage.api().signIn('ada');
  const { seq } = (await api.history(room)).find((one) => one.body === 'well done');
  await api.call('DELETE', `/api/rooms/${room}/messages/${seq}`);
  const small = await stage.person('bob', { width: 390, height: 844 });
  await small.signIn();
  await small.open(`/r/${room}`);
  await small.row('Message deleted by ada').waitFor();
  await small.row('and sorted').focus();
  await small.page.keyboard.press('r');
  await small.page.getByText('Replying to ada: and sorted').waitFor();
  await api.call('PATCH', '/api/me', { name: LONG });
  const short = await places(small);
  await small.messages().getByRole('button', { name: 'About ada' }).first().click();
  await small.page.getByRole('dialog', { name: `About ${full(LONG)}` }).waitFor();
  await small.page.keyboard.press('Escape');
  await small.row('Message deleted by').getByText('@ada', { exact: true }).waitFor();
  await small.page.getByText(`Replying to ${LONG} @ada: and sorted`).waitFor();
  assert.deepEqual(await places(small), short, 'no row moved when the longest name came');
  for (const line of [small.row('Message deleted by'), small.page.getByText('Replying to')]) {
    const isSeen = await line.getByText('@ada', { exact: true }).evaluate((handle) => {
      const right = (one) => one.getBoundingClientRect().right;
      return right(handle) <= right(handle.closest('.cut'));
    });
    assert.ok(isSeen, 'the username is in view beside the longest name');
  }
  await hasNoBarriers(small.page, 'the longest name on a phone');
});
