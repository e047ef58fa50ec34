// A room is found and joined on the page of public rooms, at a desk and on a phone, where going back to
// the list leaves the focus where it was.
import assert from 'node:assert/strict';
import { scenario, until } from './stage/index.mjs';

await scenario('browse', async (stage) => {
  const ada = await stage.person('ada');
  await ada.register();
  await ada.createRoom('engines');
  // More rooms than one is looking for; two of them are nobody else's to find.
  const api = await stage.api().signIn('ada');
  for (const name of ['engravings', 'boats']) await api.createRoom(name);
  await api.createRoom('engineers', 'private');

  const names = (person) => person.page.getByRole('button', { name: /^(Join|Open) / });
  const finds = async (person) => {
    const { page } = person;
    await page.getByRole('link', { name: 'Browse public rooms' }).click();
    await page.getByRole('heading', { name: 'Public rooms' }).waitFor();
    await page.getByRole('searchbox', { name: 'Find a room by its name' }).fill('ENG');
    await until('only those that begin so are there', async () => (await names(person).count()) === 2);
    assert.deepEqual(
      await names(person).evaluateAll((all) => all.map((one) => one.getAttribute('aria-label'))),
      ['Join engines', 'Join engravings'],
    );
    await page.getByRole('button', { name: 'Join engines' }).click();
    await person.isInRoom('engines');
  };

  const bob = await stage.person('bob');
  await bob.register();
  await finds(bob);
  await bob.rooms().getByRole('link', { name: 'engines' }).waitFor();
  await bob.say('engines', 'found it');
  await ada.sees('found it');
  // Who is in it opens it there.
  await bob.page.getByRole('link', { name: 'Browse public rooms' }).click();
  await bob.page.getByRole('button', { name: 'Open engines' }).click();
  await bob.isInRoom('engines');

  const eve = await stage.person('eve', { width: 390, height: 780 });
  await eve.register();
  await finds(eve);
  await ada.say('engines', 'welcome');
  await eve.sees('welcome');
  const focused = () => eve.page.evaluate(() => document.activeElement?.getAttribute('href') ?? null);
  const back = () => eve.page.getByRole('button', { name: 'Back to the list of rooms' }).click();
  const room = new URL(eve.page.url()).pathname;
  await back();
  await until('the room has the focus', async () => (await focused()) === room);
  await eve.page.getByRole('link', { name: 'Browse public rooms' }).click();
  await eve.page.getByRole('heading', { name: 'Public rooms' }).waitFor();
  await back();
  await until('the way to the public rooms has it', async () => (await focused()) === '/browse');
  // By the browser's own way back, too: the room, and from it the list again.
  await eve.enter('engines');
  await eve.page.goBack();
  await until('the room has the focus again', async () => (await focused()) === room);
});
