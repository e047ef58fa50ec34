// A page whose files the answering node does not have, as in the middle of an upgrade: it is loaded anew
// until it has them, and says so when it does not get them.
import assert from 'node:assert/strict';
import { scenario } from './stage/index.mjs';

await scenario('mixed-releases', async (stage) => {
  stage.expects({ text: /^Failed to load resource: /, place: /^\/assets\// });
  stage.expects({ text: /^Refused to apply style from /, place: null });
  const ada = await stage.person('ada');
  const { page } = ada;
  let pages = 0;
  let wholeFrom = 0;
  page.on('request', (request) => {
    if (request.isNavigationRequest()) pages += 1;
  });
  await page.route('**/assets/**', (route) => {
    if (pages >= wholeFrom) return route.continue();
    // The server's own answer for a file that it does not have.
    const url = new URL(route.request().url());
    return route.continue({ url: `${url.origin}/assets/of-another-release${url.pathname.slice('/assets/'.length)}` });
  });
  const signIn = page.getByRole('button', { name: 'Sign in' });

  wholeFrom = 3;
  await ada.open('/');
  await signIn.waitFor();
  assert.equal(pages, 3);
  // What was tried then counts for nothing later.
  await page.waitForLoadState();
  assert.equal(await page.evaluate(() => sessionStorage.getItem('parlance.boot')), null);

  [pages, wholeFrom] = [0, Infinity];
  await ada.open('/');
  const alert = page.getByRole('alert');
  await alert.filter({ hasText: 'could not be loaded' }).waitFor();
  assert.equal(pages, 5, 'it does not go on for ever');
  wholeFrom = 0;
  await alert.getByRole('button', { name: 'Load it again' }).click();
  await signIn.waitFor();
});
