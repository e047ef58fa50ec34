// What a first visit costs: everything that the sign-in page loads, as it comes over the line.
import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { scenario } from './stage/index.mjs';

const BYTES_MAX = 150 * 1024;

await scenario('first-load', async (stage) => {
  const ada = await stage.person('ada');
  const answers = [];
  ada.page.on('response', (answer) => answers.push(answer));
  const begun = performance.now();
  await ada.open('/');
  await ada.page.getByRole('button', { name: 'Sign in' }).waitFor();
  await ada.page.getByRole('textbox').first().fill('a');
  console.log(`first load: takes input after ${Math.round(performance.now() - begun)} ms`);
  await ada.page.getByRole('textbox').first().fill('');
  await ada.page.waitForLoadState('networkidle');
  let sum = 0;
  for (const answer of answers) {
    const url = new URL(answer.url());
    if (!url.href.startsWith(stage.url) || url.pathname.startsWith('/api/')) continue;
    const bytes = gzipSync(await answer.body()).length;
    console.log(`${url.pathname}: ${bytes} bytes gzipped, sent as ${answer.headers()['content-encoding'] ?? 'it is'}`);
    sum += bytes;
  }
  console.log(`first load: ${sum} bytes gzipped`);
  assert.ok(sum > 1_000, 'there is a client');
  assert.ok(sum < BYTES_MAX, `${sum} bytes`);
  const others = answers.filter((answer) => !answer.url().startsWith(stage.url) && !answer.url().startsWith('data:'));
  assert.deepEqual(others.map((answer) => answer.url()), [], 'nothing comes from elsewhere');
  const page = answers.find((answer) => new URL(answer.url()).pathname === '/');
  const policy = page.headers()['content-security-policy'] ?? '';
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /unsafe/);

  // The second visit is answered from what the browser has, under the same policy.
  await ada.open('/');
  await ada.page.getByRole('button', { name: 'Sign in' }).waitFor();
});
