// The reference of the API, on a machine that reaches nothing but the server: one signs in on the page,
// tries calls and a socket, and sees what they answer.
import assert from 'node:assert/strict';
import { PASSWORD, scenario, until } from './stage/index.mjs';

await scenario('docs', async (stage) => {
  const ada = await stage.person('ada');
  const { page } = ada;
  const strangers = [];
  await page.context().route((url) => url.origin !== stage.url, (route) => {
    strangers.push(route.request().url());
    return route.abort();
  });
  await ada.open('/docs');
  await page.getByRole('heading', { level: 1, name: 'HTTP calls' }).waitFor();

  /** A call of the reference, opened by finding it. */
  const call = async (words, method, path) => {
    await page.getByRole('searchbox', { name: 'Filter the reference' }).fill(words);
    const piece = page.locator('details.op:visible').filter({ has: page.getByText(path, { exact: true }) }).filter({ hasText: method });
    await piece.locator('summary').first().click();
    const form = piece.locator('form');
    await form.getByRole('button', { name: 'Send' }).waitFor();
    return form;
  };
  const answers = async (form, status, words) => {
    await form.getByRole('button', { name: 'Send' }).click();
    const answer = form.getByRole('status');
    await answer.getByText(status, { exact: true }).waitFor();
    await answer.getByText(words).first().waitFor();
  };

  // An account is made by the form, with the same as a line for the shell beside it.
  const register = await call('register', 'POST', '/api/auth/register');
  await register.getByRole('textbox', { name: 'Body' }).fill(JSON.stringify({ username: 'ada', password: PASSWORD }));
  assert.match(await register.getByLabel('The same with curl').innerText(), /curl -s -X POST 'http.*\/api\/auth\/register'/);
  await answers(register, '201', 'ada');

  // Without a sign-in a call is refused, and the page says why.
  const me = await call('/api/me', 'GET', '/api/me');
  await answers(me, '401', 'unauthenticated');

  const sign = page.locator('form.try').first();
  await sign.getByLabel('Username').fill('ada');
  await sign.getByLabel('Password').fill('Wrong-Horse-1');
  await sign.getByRole('button', { name: 'Sign in' }).click();
  await sign.getByRole('status').filter({ hasText: /\S/ }).waitFor();
  assert.equal(await sign.getByLabel('Bearer token').inputValue(), '');
  await sign.getByLabel('Password').fill(PASSWORD);
  await sign.getByRole('button', { name: 'Sign in' }).click();
  await sign.getByText('Signed in; the token is above.').waitFor();
  await answers(me, '200', '"username": "ada"');
  const secret = await sign.getByLabel('Bearer token').inputValue();
  assert.ok(!(await me.getByLabel('The same with curl').innerText()).includes(secret), 'what is copied holds no secret');

  // A change: a room is made, and a message is sent to it.
  const create = await call('/api/rooms', 'POST', '/api/rooms');
  await create.getByRole('textbox', { name: 'Body' }).fill(JSON.stringify({ name: 'engines', kind: 'public' }));
  await answers(create, '201', '"name": "engines"');
  const api = await stage.api().signIn('ada');
  const room = (await api.call('GET', '/api/rooms')).rooms.find((one) => one.name === 'engines').id;
  const send = await call('messages', 'POST', '/api/rooms/{room}/messages');
  await send.getByLabel('room', { exact: true }).fill(room);
  await send.getByRole('textbox', { name: 'Body' }).fill(JSON.stringify({ body: 'from the reference' }));
  await answers(send, '201', '"seq"');
  assert.deepEqual((await api.history(room)).map((one) => one.body), ['from the reference']);

  // The cookie will do, too.
  await sign.getByLabel('Password').fill(PASSWORD);
  await sign.getByLabel('keep it in a cookie').check();
  await sign.getByRole('button', { name: 'Sign in' }).click();
  await sign.getByText('Signed in with a cookie.').waitFor();
  assert.equal(await sign.getByLabel('Bearer token').inputValue(), '');
  await page.getByRole('searchbox', { name: 'Filter the reference' }).fill('/api/me');
  await me.getByRole('status').evaluate((box) => box.replaceChildren());
  await answers(me, '200', '"username": "ada"');

  // A socket: it says hello, and the server welcomes it.
  await page.getByRole('link', { name: 'Frames', exact: true }).click();
  await page.getByRole('heading', { level: 1, name: 'Frames of the sockets' }).waitFor();
  const socket = page.locator('form.try').filter({ hasText: 'Try a socket' });
  await socket.getByRole('button', { name: 'Connect' }).click();
  await socket.getByRole('log').getByText(/"type":"welcome"/).waitFor();
  await socket.getByRole('textbox', { name: 'Frame' }).fill(JSON.stringify({ type: 'ping', id: 7 }));
  await socket.getByRole('button', { name: 'Send' }).click();
  await until('it is answered', async () => /←.*"id":7/.test(await socket.getByRole('log').innerText()));
  await socket.getByRole('button', { name: 'Close' }).click();
  await socket.getByRole('log').getByText(/closed with/).waitFor();
  assert.deepEqual(strangers, [], 'nothing is asked of anybody else');
});
