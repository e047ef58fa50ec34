// Every page and every dialog, in light and dark, wide and narrow: no barriers that axe can find.
import { hasNoBarriers } from './stage/barriers.mjs';
import { scenario, until } from './stage/index.mjs';

const TALK = [
  'Good morning! Who is **here** today?',
  'I am. See https://example.com/plan and _think_ about it.',
  '> a quote of somebody\n\nand an answer to it',
  '```rust\nfn main() { println!("hello"); }\n```',
  '@ada could you look at `this`?',
  '🎉',
];

await scenario('barriers', async (stage) => {
  const ada = await stage.api().register('ada');
  const bob = await stage.api().register('bob');
  const room = (await ada.createRoom('engines')).id;
  await bob.call('POST', `/api/rooms/${room}/join`);
  for (const text of TALK) await bob.send(room, text);
  await ada.send(room, 'all is well');
  const held = await ada.history(room);
  const at = (text) => held.find((one) => one.body === text).seq;
  await bob.call('PUT', `/api/rooms/${room}/messages/${at('all is well')}/reactions/${encodeURIComponent('👍')}`);
  await ada.call('PUT', `/api/rooms/${room}/messages/${at(TALK[0])}/pin`);
  await bob.call('DELETE', `/api/rooms/${room}/messages/${at('🎉')}`);
  await bob.call('POST', '/api/direct', { user: (await ada.me()).id });

  for (const theme of ['light', 'dark']) {
    for (const { width, height } of [{ width: 1280, height: 800 }, { width: 390, height: 844 }]) {
      const how = `${theme}, ${width} wide`;
      const person = await stage.person('ada', { theme, width, height });
      const { page } = person;
      const check = (what) => hasNoBarriers(page, `${what} (${how})`, theme);

      await person.open('/sign-in');
      await page.getByRole('button', { name: 'Sign in' }).waitFor();
      await check('sign-in');
      await person.open('/register');
      await page.getByRole('button', { name: 'Create account' }).waitFor();
      await check('register');
      await person.signIn();
      await person.rooms().getByRole('link', { name: 'engines' }).waitFor();
      await person.rooms().getByRole('link', { name: 'bob' }).waitFor();
      await check('home');

      await person.open(`/r/${room}`);
      await person.isInRoom('engines');
      await person.sees('all is well');
      await check('a room');
      await person.row('all is well').focus();
      await until('the actions are there', async () => (await person.row('all is well').getByRole('group').count()) > 0);
      await check('a message with its actions');
      await page.getByRole('button', { name: 'Insert an emoji' }).click();
      await page.getByRole('dialog', { name: 'Emoji' }).waitFor();
      await check('the emoji');
      await page.keyboard.press('Escape');
      await person.composer('engines').pressSequentially('hello @bo');
      await page.getByRole('listbox').first().waitFor();
      await check('names to choose from');
      await page.keyboard.press('Escape');
      await person.composer('engines').fill('');

      await page.keyboard.press('Control+k');
      await page.getByRole('combobox').waitFor();
      await check('the quick switcher');
      await page.keyboard.press('Escape');
      await person.open('/mentions');
      await page.getByRole('link', { name: /bob, engines/ }).waitFor();
      await check('mentions');
      await person.open('/browse');
      await page.getByRole('button', { name: 'Open engines' }).waitFor();
      await check('public rooms');
      await page.getByRole('button', { name: 'New room' }).first().click();
      await page.getByRole('dialog', { name: 'New room' }).waitFor();
      await check('a new room');
      await page.keyboard.press('Escape');
      await person.open('/settings');
      await page.getByRole('heading', { name: 'Settings' }).first().waitFor();
      await check('settings');
      await page.context().close();
    }

    const root = await stage.person(stage.administratorName, { theme });
    await root.signIn(stage.administratorPassword);
    await root.open('/admin');
    await root.page.getByRole('grid', { name: 'Map of shards by owner' }).waitFor();
    await hasNoBarriers(root.page, `the operator's page (${theme})`, theme);
    await root.page.getByRole('gridcell').first().getByRole('button').click();
    await root.page.getByRole('dialog', { name: 'Shard 0' }).waitFor();
    await hasNoBarriers(root.page, `a shard (${theme})`, theme);
    await root.page.context().close();
  }
});
