// The sign-in runs out while somebody writes. Nothing takes the keys from what they write: the sentence is
// finished where it was begun, and sent when they have signed in again.
import assert from 'node:assert/strict';
import { hasNoBarriers } from './stage/barriers.mjs';
import { PASSWORD, scenario, until } from './stage/index.mjs';

await scenario('sign-in-expires', async (stage) => {
  const line = await stage.line();
  const ada = await stage.person('ada', { line });
  const keys = ada.page.keyboard;
  const box = ada.composer('engines');
  const bar = ada.page.getByRole('status').filter({ hasText: 'Your sign-in has run out' });
  const dialog = ada.page.getByRole('dialog', { name: 'Please sign in again' });
  const password = dialog.getByLabel('Password of ada');
  const logins = [];
  ada.page.on('request', (request) => {
    if (request.url().endsWith('/api/auth/login')) logins.push(request.postDataJSON().password);
  });

  /** The browser forgets the sign-in, as it does with a cookie whose time is over; then the line breaks. */
  async function expire() {
    await ada.page.context().clearCookies();
    line.cut();
    line.mend();
  }

  const isWriting = () => box.evaluate((it) => it === document.activeElement);

  await ada.register();
  const room = await ada.createRoom('engines');
  await ada.say('engines', 'said while signed in');
  await ada.sees('said while signed in');
  logins.length = 0;

  // Across the moment in which it runs out, and well beyond it.
  await box.click();
  await expire();
  let sentence = '';
  async function type(words) {
    await keys.type(words, { delay: 15 });
    sentence += words;
  }
  await until('the sign-in has run out', async () => {
    await type('on and ');
    return bar.isVisible();
  });
  await type('on and on');
  assert.equal(await box.inputValue(), sentence);
  assert.ok(await isWriting());
  assert.equal(await ada.page.locator('input[type=password]').count(), 0, 'no password is asked for');
  await keys.press('Enter');
  await ada.row(sentence).waitFor();
  await keys.type('half a thou');
  assert.equal(await box.inputValue(), 'half a thou');
  assert.deepEqual(logins, [], 'nothing was sent as a password');
  await hasNoBarriers(ada.page, 'the bar of a sign-in that ran out');

  // Who asks for the field gets it, and is where they were afterwards.
  await bar.getByRole('button', { name: 'Sign in' }).click();
  await password.waitFor();
  await hasNoBarriers(ada.page, 'the dialog that asks for a sign-in');
  await keys.type(PASSWORD);
  await keys.press('Enter');
  await dialog.waitFor({ state: 'hidden' });
  await bar.waitFor({ state: 'hidden' });
  assert.deepEqual(logins, [PASSWORD]);
  assert.equal(await box.inputValue(), 'half a thou');
  await until('they write on', isWriting);
  await keys.type('ght');
  await keys.press('Enter');
  await ada.sees('half a thought');

  // Another window signs in while the password is being entered here: the rest of it goes nowhere else.
  await expire();
  await bar.waitFor();
  await box.click();
  await bar.getByRole('button', { name: 'Sign in' }).click();
  await password.waitFor();
  await keys.type(PASSWORD.slice(0, 5));
  const other = await stage.tabOf(ada);
  await other.signIn();
  await dialog.getByText('You are signed in again').waitFor();
  await ada.page.bringToFront();
  await keys.type(PASSWORD.slice(5));
  assert.equal(await password.inputValue(), PASSWORD);
  await keys.press('Enter');
  await dialog.waitFor({ state: 'hidden' });
  await until('they write on', isWriting);
  assert.equal(await box.inputValue(), '');

  // It runs out in the middle of a form over the page, which stays as well.
  await ada.page.getByRole('button', { name: 'New room' }).first().click();
  const form = ada.page.getByRole('dialog', { name: 'New room' });
  const field = form.getByLabel('Name', { exact: true });
  await field.waitFor();
  await keys.type('boi');
  await expire();
  const within = form.getByRole('status').filter({ hasText: 'Your sign-in has run out' });
  await within.waitFor();
  await keys.type('le');
  await within.getByRole('button', { name: 'Sign in' }).click();
  await password.waitFor();
  await keys.type(PASSWORD);
  await keys.press('Enter');
  await dialog.waitFor({ state: 'hidden' });
  await until('they write on', () => field.evaluate((it) => it === document.activeElement));
  await keys.type('rs');
  await keys.press('Enter');
  await ada.isInRoom('boilers');
  await ada.enter('engines');

  await ada.say('engines', 'the end');
  await ada.sees('the end');

  const ours = (await (await stage.api().signIn('ada')).history(room)).map((one) => one.body);
  assert.deepEqual(ours.filter((body) => body !== null && body !== undefined), ['said while signed in', sentence, 'half a thought', 'the end']);
});
