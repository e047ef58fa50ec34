// A walk through the client without a mouse: every step by keys, and the focus can be seen at each. What
// is opened and left again gives the focus back to where it was.
import assert from 'node:assert/strict';
import { PASSWORD, scenario, until } from './stage/index.mjs';

const STEPS_MAX = 60;

await scenario('keyboard', async (stage) => {
  const ada = await stage.person('ada');
  const { page } = ada;
  const { keyboard } = page;

  const focused = () => page.evaluate(() => {
    const one = document.activeElement;
    if (one === null || one === document.body) return null;
    // A field may show it on the box that it stands in.
    const drawn = (box) => {
      const its = getComputedStyle(box);
      return its.outlineStyle !== 'none' || its.boxShadow !== 'none';
    };
    let seen = drawn(one);
    for (let box = one; !seen && box?.matches(':focus-within') && box.clientHeight < 160; box = box.parentElement) seen = drawn(box);
    const name = one.getAttribute('aria-label')
      ?? (one.id === '' ? null : document.querySelector(`label[for="${one.id}"]`)?.textContent)
      ?? one.textContent;
    return {
      name: (name ?? '').trim().replace(/\s+/g, ' '),
      seen,
    };
  });
  const tabTo = async (name, key = 'Tab') => {
    const passed = [];
    for (let step = 0; step < STEPS_MAX; step += 1) {
      const at = await focused();
      if (at !== null) {
        assert.ok(at.seen, `the focus on "${at.name}" can be seen`);
        if (name.test(at.name)) return;
        passed.push(at.name);
      }
      await keyboard.press(key);
    }
    throw new Error(`${name} was not reached; passed: ${passed.join(' | ')}`);
  };

  const isAt = (name) => until(`the focus is on ${name}`, async () => {
    const at = await focused();
    if (at === null || !name.test(at.name)) throw new Error(`it is on ${at?.name ?? 'nothing'}`);
    return true;
  });
  /** Opens something by the key Enter, and leaves it by Esc. */
  const opensAndLeaves = async (button, dialog) => {
    await tabTo(button);
    await keyboard.press('Enter');
    await page.getByRole('dialog', { name: dialog }).waitFor();
    await keyboard.press('Escape');
    await page.getByRole('dialog', { name: dialog }).waitFor({ state: 'hidden' });
    await isAt(button);
  };

  await stage.api().register('bob');
  await ada.open('/register');
  await page.getByRole('button', { name: 'Create account' }).waitFor();
  await tabTo(/^Username$/);
  await keyboard.type('ada');
  await tabTo(/^Password$/);
  await keyboard.type(PASSWORD);
  await keyboard.press('Enter');
  await ada.isIn();

  // A room is made.
  await tabTo(/^New room$/);
  await keyboard.press('Enter');
  await page.getByRole('dialog', { name: 'New room' }).waitFor();
  await tabTo(/^Name$/);
  await keyboard.type('engines');
  await keyboard.press('Enter');
  await ada.isInRoom('engines');

  // The message is written where the focus is already, or a few steps away.
  await tabTo(/^Message engines$/);
  for (const text of ['one', 'two', 'three']) {
    await keyboard.type(text);
    await keyboard.press('Enter');
    await ada.sees(text);
  }

  // Up changes the last one.
  await keyboard.press('ArrowUp');
  await until('the last one can be changed', async () => (await ada.messages().getByRole('textbox').count()) === 1);
  await keyboard.press('End');
  await keyboard.type(' and a half');
  await keyboard.press('Enter');
  await ada.sees('three and a half');

  // Through the messages by arrows, to their actions by Tab.
  await tabTo(/^Messages$/, 'Shift+Tab');
  await keyboard.press('ArrowUp');
  await keyboard.press('ArrowUp');
  await until('the second message has the focus', () => page.evaluate(() => document.activeElement?.querySelector('.text')?.textContent.trim() === 'two'));
  await tabTo(/^React with/);
  await keyboard.press('Enter');
  await until('it has a reaction', async () => /1/.test(await ada.row('two').innerText()));

  // Its menu, by arrows: left by Esc, and used.
  const menu = page.getByRole('dialog', { name: 'Message actions' });
  await opensAndLeaves(/^More actions$/, 'Message actions');
  await keyboard.press('Enter');
  await menu.waitFor();
  await isAt(/^Reply$/);
  for (let step = 0; step < 4 && (await focused()).name !== 'Pin'; step += 1) await keyboard.press('ArrowDown');
  await keyboard.press('Enter');
  await menu.waitFor({ state: 'hidden' });
  await ada.row('two').getByText('Pinned').waitFor();
  await isAt(/^More actions$/);
  await opensAndLeaves(/^Choose a reaction$/, 'Choose a reaction');

  // A message at hand is answered, changed and deleted by letters; Esc leaves each.
  const to = async (text) => {
    await tabTo(/^Messages$/, 'Shift+Tab');
    for (let step = 0; step < 4; step += 1) {
      await keyboard.press('ArrowUp');
      if (await page.evaluate((wanted) => document.activeElement?.querySelector('.text')?.textContent.trim() === wanted, text)) return;
    }
    throw new Error(`"${text}" was not reached`);
  };
  const isAtRow = (text) => until(`the focus is on "${text}"`, () => page.evaluate(
    (wanted) => document.activeElement?.matches('[data-key]') && document.activeElement.querySelector('.text')?.textContent.trim() === wanted, text));
  await to('one');
  await keyboard.press('r');
  await isAt(/^Message engines$/);
  await page.getByText('Replying to').waitFor();
  await keyboard.press('Escape');
  await page.getByText('Replying to').waitFor({ state: 'hidden' });
  await isAt(/^Message engines$/);
  await to('one');
  await keyboard.press('e');
  await isAt(/^Edit the message$/);
  await keyboard.press('Escape');
  await isAt(/^Message engines$/);
  await to('one');
  await keyboard.press('Delete');
  await page.getByRole('dialog', { name: 'Delete this message?' }).waitFor();
  await keyboard.press('Escape');
  await page.getByRole('dialog', { name: 'Delete this message?' }).waitFor({ state: 'hidden' });
  await isAtRow('one');
  await keyboard.press('Escape');
  await isAt(/^Message engines$/);

  // The panel beside the conversation, and somebody is invited from it.
  await tabTo(/^About this room$/, 'Shift+Tab');
  await keyboard.press('Enter');
  await ada.panel('About this room').waitFor();
  await tabTo(/^Close the panel$/);
  await keyboard.press('Enter');
  await ada.panel('About this room').waitFor({ state: 'hidden' });
  await isAt(/^Message engines$/);
  await tabTo(/^Members$/, 'Shift+Tab');
  await keyboard.press('Enter');
  await ada.panel('Members').waitFor();
  await opensAndLeaves(/^Invite$/, 'Invite people to engines');
  await keyboard.press('Enter');
  const invite = page.getByRole('dialog', { name: 'Invite people to engines' });
  await isAt(/^Name of a person$/);
  await keyboard.type('bob');
  await invite.getByRole('button', { name: 'Add bob' }).waitFor();
  await tabTo(/^Add bob$/);
  await keyboard.press('Enter');
  await invite.getByText('Added').waitFor();
  // On to the next one; in a search field the first Esc takes back what was typed.
  await isAt(/^Name of a person$/);
  await keyboard.press('Escape');
  await keyboard.press('Escape');
  await invite.waitFor({ state: 'hidden' });
  await isAt(/^Invite$/);
  await ada.panel('Members').getByText('bob').waitFor();

  // Settings, and the public rooms.
  await opensAndLeaves(/^Settings$/, 'Settings');
  await opensAndLeaves(/Your menu$/, 'Your menu');
  await tabTo(/^Browse public rooms$/, 'Shift+Tab');
  await keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Public rooms' }).waitFor();
  await page.getByRole('button', { name: 'Open engines' }).waitFor();
  await tabTo(/^Open engines$/);
  await keyboard.press('Enter');
  await ada.isInRoom('engines');
  await isAt(/^Message engines$/);

  // Anywhere by the quick switcher, and Esc gives the focus back.
  await keyboard.press('Control+k');
  await page.getByRole('combobox').waitFor();
  await keyboard.press('Escape');
  await page.getByRole('combobox').waitFor({ state: 'hidden' });
  await isAt(/^Message engines$/);
  await keyboard.press('Control+k');
  await page.getByRole('combobox').waitFor();
  await keyboard.type('lobby');
  await page.getByRole('option', { name: /lobby/i }).first().waitFor();
  await keyboard.press('Enter');
  await until('the lobby is open', async () => !/engines/.test(await page.title()) && (await page.getByRole('textbox', { name: /^Message / }).getAttribute('aria-label')) !== 'Message engines');
});
