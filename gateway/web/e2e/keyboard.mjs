// A walk through the client without a mouse: every step by keys, and the focus can be seen at each.
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

  // Anywhere by the quick switcher, and Esc gives the focus back.
  await keyboard.press('Control+k');
  await page.getByRole('combobox').waitFor();
  await keyboard.press('Escape');
  await page.getByRole('combobox').waitFor({ state: 'hidden' });
  await keyboard.press('Control+k');
  await page.getByRole('combobox').waitFor();
  await keyboard.type('lobby');
  await page.getByRole('option', { name: /lobby/i }).first().waitFor();
  await keyboard.press('Enter');
  await until('the lobby is open', async () => !/engines/.test(await page.title()) && (await page.getByRole('textbox', { name: /^Message / }).getAttribute('aria-label')) !== 'Message engines');
});
