// What opens beside and over a conversation, in light at a desk and in dark on a phone: no barriers that
// axe can find.
import { hasNoBarriers } from './stage/barriers.mjs';
import { scenario } from './stage/index.mjs';

/** What opens beside and over a conversation that somebody looks after. */
async function roomsParts(person, check) {
  const { page } = person;
  const shut = async (dialog) => {
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'hidden' });
  };
  const narrow = page.viewportSize().width < 1180;
  const panel = async (button, title) => {
    const shown = person.panel(title);
    if (!(await shown.isVisible())) await page.getByRole('button', { name: button }).click();
    await shown.waitFor();
    return shown;
  };
  // On a phone it lies over the page, and over the bar that opens another.
  const away = async (shown) => {
    if (!narrow) return;
    await shown.getByRole('button', { name: 'Close the panel' }).click();
    await shown.waitFor({ state: 'hidden' });
  };

  const members = await panel(/^Members$/, 'Members');
  await members.getByText('bob').waitFor();
  await check('the members');
  await members.getByRole('button', { name: /bob/ }).click();
  const actions = page.getByRole('dialog', { name: 'Actions for bob' });
  await actions.waitFor();
  await check("a member's menu");
  await actions.getByRole('button', { name: 'Remove from the room…' }).click();
  await page.getByRole('dialog', { name: 'Remove bob?' }).waitFor();
  await check('removing somebody');
  await shut(page.getByRole('dialog', { name: 'Remove bob?' }));
  await members.getByRole('button', { name: 'Invite' }).click();
  const invite = page.getByRole('dialog', { name: 'Invite people to engines' });
  await invite.waitFor();
  await check('inviting');
  await invite.getByRole('searchbox').fill('bob');
  await invite.getByText('In the room').waitFor();
  await check('inviting, with names');
  await invite.getByRole('button', { name: 'Close' }).click();
  await invite.waitFor({ state: 'hidden' });
  await away(members);

  const pins = await panel(/^Pinned messages/, 'Pinned messages');
  await pins.getByRole('button', { name: 'Unpin' }).waitFor();
  await check('the pins');
  await away(pins);
  const about = await panel('About this room', 'About this room');
  await check('about the room');
  await about.getByRole('button', { name: 'Change' }).click();
  await about.getByLabel('Topic').waitFor();
  await check("the room's form");
  await about.getByRole('button', { name: 'Cancel' }).click();
  await about.getByRole('button', { name: 'Leave the room…' }).click();
  await page.getByRole('dialog', { name: 'Leave engines?' }).waitFor();
  await check('leaving');
  await shut(page.getByRole('dialog', { name: 'Leave engines?' }));
  await away(about);
}

/** What a message opens. */
async function messagesParts(person, check) {
  const { page } = person;
  const row = person.row('all is well');
  const shut = async (dialog) => {
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'hidden' });
  };
  await row.getByRole('button', { name: /^About / }).click();
  const card = page.getByRole('dialog', { name: /^About / });
  await card.waitFor();
  await check("a person's card");
  await shut(card);
  await row.focus();
  await row.getByRole('button', { name: 'More actions' }).click();
  const menu = page.getByRole('dialog', { name: 'Message actions' });
  await menu.waitFor();
  await check("a message's menu");
  await menu.getByRole('button', { name: 'Copy text' }).click();
  await page.getByText(/^Copied|did not allow copying$/).waitFor();
  await check('a short word');
  await row.focus();
  await page.keyboard.press('r');
  await page.getByText('Replying to').waitFor();
  await check('a reply');
  await page.getByRole('button', { name: 'Do not reply' }).click();
  await row.focus();
  await page.keyboard.press('e');
  await page.getByRole('textbox', { name: 'Edit the message' }).waitFor();
  await check('a message that is edited');
  await page.keyboard.press('Escape');
  await row.focus();
  await page.keyboard.press('Delete');
  const sure = page.getByRole('dialog', { name: 'Delete this message?' });
  await sure.waitFor();
  await check('deleting');
  await shut(sure);
}

await scenario('barriers-opened', async (stage) => {
  const ada = await stage.api().register('ada');
  const bob = await stage.api().register('bob');
  const room = (await ada.createRoom('engines')).id;
  await bob.call('POST', `/api/rooms/${room}/join`);
  const { seq } = await bob.send(room, 'Look at **this**: https://example.com/plan');
  await ada.call('PUT', `/api/rooms/${room}/messages/${seq}/pin`);
  await ada.send(room, 'all is well');

  for (const [theme, shape] of [['light', { width: 1280, height: 800 }], ['dark', { width: 390, height: 844 }]]) {
    const person = await stage.person('ada', { theme, ...shape });
    const check = (what) => hasNoBarriers(person.page, `${what} (${theme}, ${shape.width} wide)`, theme);
    await person.signIn();
    await person.open(`/r/${room}`);
    await person.isInRoom('engines');
    await person.sees('all is well');
    await roomsParts(person, check);
    await messagesParts(person, check);
    await person.page.context().close();
  }
});
