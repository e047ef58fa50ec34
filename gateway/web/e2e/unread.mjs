// What is said in rooms that are not open is counted in the list and in the title, and the counts fall
// when it is read, in every window.
import assert from 'node:assert/strict';
import { scenario, until } from './stage/index.mjs';

await scenario('unread', async (stage) => {
  const ada = await stage.person('ada');
  const bob = await stage.api().register('bob');
  await ada.register();
  const own = await stage.api().signIn('ada');
  const rooms = {};
  for (const name of ['engines', 'lunch']) {
    rooms[name] = (await bob.createRoom(name)).id;
    await own.call('POST', `/api/rooms/${rooms[name]}/join`);
  }
  await ada.enter('engines');
  const counts = (person, room, wanted) => until(`${person.page.url()} counts ${wanted ?? 'nothing'} in ${room}`, async () => {
    const row = await person.rooms().getByRole('link', { name: room }).innerText();
    const found = row.replace(room, '').replace(/\s+/g, ' ').trim();
    if (found !== (wanted ?? '')) throw new Error(`it is "${found}"`);
    return true;
  });
  const titled = (wanted) => until(`the title is ${wanted}`, async () => (await ada.page.title()) === wanted);

  // It grows one by one; who looks at a room has nothing unread there.
  for (const number of [1, 2, 3]) {
    await bob.send(rooms.lunch, `soup ${number}`);
    await counts(ada, 'lunch', `${number} unread`);
  }
  await bob.send(rooms.engines, 'seen as it comes');
  await ada.sees('seen as it comes');
  await counts(ada, 'engines', null);
  await titled('engines – Parlance');

  // What wants somebody is apart, and in the title.
  await bob.send(rooms.lunch, 'are you coming, @ada?');
  await counts(ada, 'lunch', '@1 mentions');
  await titled('(1) engines – Parlance');
  const direct = (await bob.call('POST', '/api/direct', { user: (await own.me()).id })).id;
  await bob.send(direct, 'and the two of us?');
  await counts(ada, 'bob', '1 unread');
  await titled('(2) engines – Parlance');
  const order = await ada.rooms().getByRole('link').evaluateAll((all) => all.map((one) => one.title));
  assert.ok(order.indexOf('lunch') < order.indexOf('engines'), `what wants somebody is first: ${order}`);

  // Another window has the same, over a reload too.
  const other = await stage.tabOf(ada);
  await other.open(`/r/${rooms.engines}`);
  await other.isInRoom('engines');
  await counts(other, 'lunch', '@1 mentions');
  await counts(other, 'bob', '1 unread');

  // Read in one window, it is read in both.
  await other.enter('lunch');
  await other.sees('are you coming');
  for (const tab of [other, ada]) await counts(tab, 'lunch', null);
  await titled('(1) engines – Parlance');
  await other.enter('bob');
  await other.sees('and the two of us?');
  for (const tab of [other, ada]) await counts(tab, 'bob', null);
  await titled('engines – Parlance');
  await until('the server knows', async () => (await own.call('GET', `/api/rooms/${rooms.lunch}`)).unread === 0);

  // A muted room is counted for mentions alone.
  await other.enter('lunch');
  await other.page.getByRole('button', { name: 'About this room' }).click();
  await other.panel('About this room').getByRole('switch', { name: 'Mute' }).click();
  await other.enter('engines');
  await bob.send(rooms.lunch, 'more soup');
  await counts(other, 'lunch', 'muted has unread messages');
  await bob.send(rooms.lunch, 'for @ada');
  await counts(other, 'lunch', 'muted @1 mentions');
  await other.enter('lunch');
  await other.sees('for @ada');
  await counts(other, 'lunch', 'muted');
});
