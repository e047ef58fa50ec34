// All that the menu of a message and the emoji picker do, by whatever means somebody points.
import assert from 'node:assert/strict';
import { until } from './until.mjs';

/** Somebody at a page of that shape does it all in a room with bob. */
export async function usesMenus(stage, bob, name, shape) {
  const person = await stage.person(name, shape);
  const { page } = person;
  await person.register();
  const own = await stage.api().signIn(name);
  const room = (await own.createRoom(`engines-${name}`)).id;
  const title = `engines-${name}`;
  await bob.call('POST', `/api/rooms/${room}/join`);
  await own.send(room, 'the pistons are in');
  await bob.send(room, 'and the **valves**?');
  await person.open(`/r/${room}`);
  await person.isInRoom(title);
  await person.sees('and the valves');

  const press = (what) => (shape.touch ? what.tap() : what.click());
  /** Brings up what can be done with a message: a tap on it, or the mouse over it. */
  const atHand = async (text) => {
    const row = person.row(text).first();
    const more = row.getByRole('button', { name: 'More actions' });
    if (!shape.touch) await row.hover();
    // A second tap would send the actions away.
    else if (!(await more.isVisible())) await row.locator('.text').tap({ position: { x: 4, y: 8 } });
    await more.waitFor();
    return row;
  };
  const menu = page.getByRole('dialog', { name: 'Message actions' });
  const choose = async (text, what) => {
    await press((await atHand(text)).getByRole('button', { name: 'More actions' }));
    await press(menu.getByRole('button', { name: what, exact: true }));
    await menu.waitFor({ state: 'hidden' });
  };

  // What is not for one to do is not offered.
  await press((await atHand('and the valves')).getByRole('button', { name: 'More actions' }));
  await menu.waitFor();
  assert.deepEqual((await menu.getByRole('button').allInnerTexts()).map((text) => text.trim()), ['Reply', 'Copy text', 'Pin', 'Delete…']);
  await page.keyboard.press('Escape');
  await menu.waitFor({ state: 'hidden' });
  if (shape.touch) {
    await person.row('and the valves').locator('.text').tap({ position: { x: 4, y: 8 } });
    await person.row('and the valves').getByRole('button', { name: 'More actions' }).waitFor({ state: 'hidden' });
  }

  await choose('and the valves', 'Reply');
  await page.getByText('Replying to bob').waitFor();
  await person.say(title, 'tomorrow');
  await person.sees('tomorrow');
  await person.row('tomorrow').getByRole('button', { name: /In reply to.*bob.*and the valves/ }).waitFor();

  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await choose('the pistons are in', 'Copy text');
  await page.getByText('Copied', { exact: true }).waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'the pistons are in');

  await choose('the pistons are in', 'Edit');
  await page.getByRole('textbox', { name: 'Edit the message' }).fill('the pistons are in again');
  await press(page.getByRole('button', { name: 'Save' }));
  await person.row('the pistons are in again').getByText('edited').waitFor();

  await choose('and the valves', 'Pin');
  await person.row('and the valves').first().getByText('Pinned').waitFor();
  await choose('and the valves', 'Unpin');
  await until('it has no mark', async () => (await person.row('and the valves').first().getByText('Pinned').count()) === 0);

  // A reaction of one's own choice, found by a word; a press on it takes it back.
  await press((await atHand('the pistons')).getByRole('button', { name: 'Choose a reaction' }));
  const picker = page.getByRole('dialog', { name: 'Choose a reaction' });
  await picker.getByRole('searchbox', { name: 'Find an emoji' }).fill('rocket');
  await press(picker.getByRole('button', { name: /rocket/ }).first());
  await picker.waitFor({ state: 'hidden' });
  const reaction = person.row('the pistons').getByRole('button', { name: new RegExp(`🚀 1: ${name}`) });
  await reaction.waitFor();
  await bob.call('PUT', `/api/rooms/${room}/messages/${await person.row('the pistons').getAttribute('data-seq')}/reactions/${encodeURIComponent('🚀')}`);
  const both = person.row('the pistons').getByRole('button', { name: /🚀 2: .*(and)/ });
  await press(both);
  await person.row('the pistons').getByRole('button', { name: '🚀 1: bob' }).waitFor();

  // An emoji and a name into what is written.
  await person.composer(title).fill('look ');
  await press(page.getByRole('button', { name: 'Insert an emoji' }));
  const emoji = page.getByRole('dialog', { name: 'Emoji' });
  await emoji.getByRole('searchbox', { name: 'Find an emoji' }).fill('rocket');
  await press(emoji.getByRole('button', { name: /rocket/ }).first());
  await person.composer(title).pressSequentially(' @bo');
  await press(page.getByRole('option', { name: /bob/ }));
  assert.equal(await person.composer(title).inputValue(), 'look 🚀 @bob ');
  await press(page.getByRole('button', { name: 'Send' }));
  await person.sees('look 🚀 @bob');

  // Deleted, for everybody, after a question.
  await press((await atHand('and the valves')).getByRole('button', { name: 'More actions' }));
  await press(menu.getByRole('button', { name: 'Delete…' }));
  await press(page.getByRole('dialog', { name: 'Delete this message?' }).getByRole('button', { name: 'Delete' }));
  await person.row(`Message deleted by ${name}`).waitFor();
  const bodies = (await bob.history(room)).map((one) => one.body).filter((body) => typeof body === 'string');
  assert.deepEqual(bodies, ['the pistons are in again', 'tomorrow', 'look 🚀 @bob']);
  await page.context().close();
}
