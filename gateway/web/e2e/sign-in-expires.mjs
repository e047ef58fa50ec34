// The sign-in runs out while somebody writes: they are asked for it, and what they wrote is still there.
import assert from 'node:assert/strict';
import { PASSWORD, scenario } from './stage/index.mjs';

await scenario('sign-in-expires', async (stage) => {
  const line = await stage.line();
  const ada = await stage.person('ada', { line });
  await ada.register();
  await ada.createRoom('engines');
  await ada.say('engines', 'said while signed in');
  await ada.sees('said while signed in');
  await ada.composer('engines').fill('half a thou');

  // The browser forgets the sign-in, as it does with a cookie whose time is over; then the line breaks.
  await ada.page.context().clearCookies();
  line.cut();
  line.mend();
  const dialog = ada.page.getByRole('dialog');
  await dialog.waitFor();
  assert.equal(await ada.composer('engines').inputValue(), 'half a thou', 'behind the dialog');
  await dialog.getByLabel('Password of ada').fill(PASSWORD);
  await dialog.getByRole('button', { name: 'Sign in' }).click();
  await dialog.waitFor({ state: 'hidden' });
  assert.equal(await ada.composer('engines').inputValue(), 'half a thou');
  await ada.composer('engines').press('End');
  await ada.composer('engines').pressSequentially('ght');
  await ada.composer('engines').press('Enter');
  await ada.sees('half a thought');
});
