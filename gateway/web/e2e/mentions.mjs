// Somebody is mentioned in a room that they have not opened: the list of rooms counts it, the page of
// mentions shows it, and it leads to the message, at a desk and on a phone.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { scenario, until } from './stage/index.mjs';

/** More than a room opens with, so that the message is far from where it would begin. */
const LATER = 150;

await scenario('mentions', async (stage) => {
  const bob = await stage.api().register('bob');
  const engines = (await bob.createRoom('engines')).id;
  const lunch = (await bob.createRoom('lunch')).id;

  for (const [name, shape] of [['ada', {}], ['eve', { theme: 'dark', width: 390, height: 780 }]]) {
    const phone = shape.width !== undefined;
    const person = await stage.person(name, shape);
    const { page } = person;
    await person.register();
    const own = await stage.api().signIn(name);
    for (const room of [engines, lunch]) await own.call('POST', `/api/rooms/${room}/join`);
    const room = (title) => person.rooms().getByRole('link', { name: title });
    await room('engines').waitFor();
    // At a desk a room is always open: not the one of the mention.
    if (!phone) await person.enter('lunch');
    const toMentions = page.getByRole('link', { name: 'Mentions', exact: true });
    const list = page.getByRole('region', { name: 'Mentions' });
    const entries = () => list.getByRole('listitem');
    const entry = (text) => list.getByRole('link', { name: text });

    await toMentions.click();
    await list.getByText('Nobody has mentioned you yet').waitFor();
    const back = () => page.getByRole('button', { name: 'Back to the list of rooms' }).click();
    if (phone) await back();

    await bob.send(engines, `@${name} the **bearing** of ${name}'s engine is worn, see https://example.com/bearing`);
    for (let n = 1; n <= LATER; n += 1) await bob.send(engines, `${n} after ${name}'s`);
    await until('the list of rooms counts it', async () => /1 mention/.test(await room('engines').textContent()));

    if (phone) await toMentions.click();
    await entry(/^Unread: bob, engines, .*bearing/).waitFor();
    if (!phone) assert.equal(await toMentions.getAttribute('aria-current'), 'page');
    await list.locator('strong', { hasText: 'bearing' }).waitFor();

    // One that comes while the page is looked at; the one that was there stays.
    await bob.send(lunch, `soup, @${name}?`);
    await entry(/^Unread: bob, lunch, .*soup/).waitFor();
    assert.match(await entries().first().innerText(), /soup/);
    // One that is taken away does not show what it said.
    const taken = await bob.send(lunch, `not for you, @${name}`);
    await entry(/not for you/).waitFor();
    await bob.call('DELETE', `/api/rooms/${lunch}/messages/${taken.seq}`);
    await until('its text is gone', async () => (await list.getByText('not for you').count()) === 0);

    // By the keyboard to the message itself, which is far above what the room would open with.
    await entry(/bob, engines, .*bearing/).focus();
    await page.keyboard.press('Enter');
    await person.isInRoom('engines');
    const found = person.row(`${name}'s engine`);
    await until('the message is in the middle of the view', async () => {
      const [box, view] = [await found.boundingBox(), await person.messages().boundingBox()];
      const middle = box.y + box.height / 2 - view.y;
      return middle > view.height / 4 && middle < (view.height * 3) / 4;
    });
    assert.match(page.url(), /\/r\/[0-9a-f-]{36}\?at=\d+$/);
    await until('it is read', async () => (await own.call('GET', `/api/rooms/${engines}`)).mentions === 0);
    await page.goBack();
    await entry(/^bob, engines, .*bearing/).waitFor();

    // The address by itself leads there, too; a message that is not there says so.
    await page.goForward();
    await page.reload();
    await found.waitFor();
    await person.open(`/r/${engines}?at=999999`);
    await page.getByText('That message is no longer there').waitFor();

    // More of them than a page.
    for (let n = 1; n <= 30; n += 1) await bob.send(lunch, `${n} for @${name}`);
    await person.open('/mentions');
    await entry(/: 30 for/).waitFor();
    const shown = () => entries().count();
    const first = await shown();
    await list.getByRole('button', { name: 'Show more' }).click();
    await until('older ones are there', async () => (await shown()) === 32);
    assert.ok(first < 32, `${first} in the first page`);
    assert.equal(await list.getByRole('button', { name: 'Show more' }).count(), 0);
    // Who looks at older ones is not moved by a new one.
    await entry(/bob, engines, .*bearing/).scrollIntoViewIfNeeded();
    const before = (await entry(/bob, engines, .*bearing/).boundingBox()).y;
    await bob.send(lunch, `the last for @${name}`);
    await until('it is there', async () => (await shown()) === 33);
    await sleep(100);
    const after = (await entry(/bob, engines, .*bearing/).boundingBox()).y;
    assert.ok(Math.abs(after - before) < 2, `it moved from ${before} to ${after}`);

    if (phone) {
      await back();
      await until('the way to the mentions has the focus', async () =>
        (await page.evaluate(() => document.activeElement?.getAttribute('href'))) === '/mentions');
    }
    await page.context().close();
  }
});
