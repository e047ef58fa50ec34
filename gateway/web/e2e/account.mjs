// Somebody looks after their account: how they are seen, how the page looks, another password, and out.
import assert from 'node:assert/strict';
import { PASSWORD, scenario, until } from './stage/index.mjs';

const FRESH = 'Battery-Staple-2';

await scenario('account', async (stage) => {
  const ada = await stage.person('ada');
  const { page } = ada;
  await ada.register();
  const room = await ada.createRoom('engines');
  const bob = await stage.person('bob');
  await bob.register();
  await stage.joins(bob, room, 'engines');

  // The operator's page is not for everybody, and says so without a fuss.
  await ada.open('/admin');
  await page.getByText('This page is for administrators.').waitFor();
  await page.getByRole('link', { name: 'Back to the rooms' }).click();
  await ada.isInRoom('engines');

  const settings = page.getByRole('dialog', { name: 'Settings' });
  const open = async () => {
    await page.getByRole('button', { name: 'Settings', exact: true }).click();
    await settings.waitFor();
  };
  const close = async () => {
    await page.keyboard.press('Escape');
    await settings.waitFor({ state: 'hidden' });
  };

  // The others see what one says of oneself.
  const seen = (status) => bob.panel('Members').getByRole('listitem').filter({ hasText: 'ada' }).filter({ hasText: status }).waitFor();
  await seen('online');
  await open();
  await settings.getByText('Member', { exact: true }).waitFor();
  await settings.getByRole('radio', { name: 'Away' }).check();
  await seen('away');
  await close();
  await page.getByRole('button', { name: 'Your menu' }).click();
  await page.getByRole('button', { name: 'Show me as online' }).click();
  await seen('online');

  // Light and dark by hand, whatever the system has; kept over a reload. Then as the system has it again.
  const looks = (theme) => until(`it is ${theme}`, () => page.evaluate((wanted) => {
    const { backgroundColor, colorScheme } = getComputedStyle(document.querySelector('main'));
    const [red, green, blue] = backgroundColor.match(/\d+/g).map(Number);
    return (red + green + blue > 384 ? 'light' : 'dark') === wanted && colorScheme === wanted;
  }, theme));
  const choose = async (theme) => {
    await open();
    await settings.getByRole('radio', { name: theme }).check();
    await close();
  };
  await looks('light');
  await choose('Dark');
  await looks('dark');
  await page.reload();
  await ada.isInRoom('engines');
  await looks('dark');
  await page.emulateMedia({ colorScheme: 'dark' });
  await choose('Light');
  await looks('light');
  await page.reload();
  await ada.isInRoom('engines');
  await looks('light');
  await choose('System');
  await looks('dark');
  await page.emulateMedia({ colorScheme: 'light' });
  await looks('light');

  // The spacing, and what Enter does.
  await open();
  await settings.getByRole('radio', { name: 'Compact' }).check();
  await settings.getByRole('switch', { name: 'Enter sends' }).click();
  await close();
  await page.reload();
  await ada.isInRoom('engines');
  assert.equal(await page.evaluate(() => document.documentElement.dataset.density), 'compact');
  await ada.composer('engines').pressSequentially('one');
  await page.keyboard.press('Enter');
  await page.keyboard.type('two');
  await page.keyboard.press('Control+Enter');
  await bob.sees('two');
  assert.match(await bob.row('two').innerText(), /one\s+two/, 'both lines came as one message');

  // Another password: this page goes on, and wherever else one was signed in asks for the new one.
  const elsewhere = await stage.person('ada');
  await elsewhere.signIn();
  await elsewhere.enter('engines');
  await open();
  await settings.getByRole('button', { name: 'Change password…' }).click();
  const old = settings.getByLabel('Password now', { exact: true });
  await old.fill('Wrong-Horse-1');
  await settings.getByLabel('New password', { exact: true }).fill(FRESH);
  await settings.getByRole('button', { name: 'Change password', exact: true }).click();
  await settings.getByText('This is not the password that you have now.').waitFor();
  await old.fill(PASSWORD);
  await settings.getByRole('button', { name: 'Change password', exact: true }).click();
  await settings.getByText('The password was changed.').waitFor();
  await close();
  await ada.composer('engines').fill('with another password');
  await page.keyboard.press('Control+Enter');
  await bob.sees('with another password');

  const again = elsewhere.page.getByRole('dialog', { name: 'Please sign in again' });
  await elsewhere.page.getByRole('button', { name: 'Sign in' }).first().click();
  await again.getByLabel('Password of ada').fill(PASSWORD);
  await again.getByRole('button', { name: 'Sign in' }).click();
  await again.getByText('The name or the password is wrong.').waitFor();
  await again.getByLabel('Password of ada').fill(FRESH);
  await again.getByRole('button', { name: 'Sign in' }).click();
  await again.waitFor({ state: 'hidden' });
  await elsewhere.sees('with another password');

  // Out, and nothing is left to look at.
  await open();
  await settings.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign in to Parlance' }).waitFor();
  await page.goBack();
  await page.getByRole('heading', { name: 'Sign in to Parlance' }).waitFor();
  assert.equal(await page.getByText('with another password').count(), 0);
  await elsewhere.say('engines', 'still in elsewhere');
  await bob.sees('still in elsewhere');
  await ada.open('/');
  await page.getByLabel('Username', { exact: true }).fill('ada');
  await page.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('The name or the password is wrong.').waitFor();
  await page.getByLabel('Password', { exact: true }).fill(FRESH);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await ada.isIn();
});
