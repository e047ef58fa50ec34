// The pictures of the README, into gateway/web/screenshots when asked (SCREENSHOTS=1), else into e2e/out.
import { mkdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { scenario } from './stage/index.mjs';

const place = process.env.SCREENSHOTS ? '../screenshots/' : './out/screenshots/';
const folder = fileURLToPath(new URL(place, import.meta.url));

const TALK = [
  ['grace', 'Morning! The night run of the **cutter** is through: 4,812 parts, no faults.'],
  ['linus', 'Nice. Did the new bearing hold?'],
  ['grace', 'It did. Temperatures are here: https://example.com/run/118'],
  ['linus', '> no faults\n\nFirst time since March. I would like to see the log, though.'],
  ['grace', '```\nspindle  31.2 °C\nbearing  38.9 °C\ncoolant  17.4 °C\n```'],
  ['ada', 'That is two degrees below the model. I will run the numbers again.'],
  ['linus', '@ada take the readings of `sensor 7` out, it was moved on Tuesday.'],
  ['ada', 'Done: it fits now, within half a degree.'],
  ['grace', 'Then we change the second machine on Thursday?'],
  ['linus', 'Yes. I will order the parts today.'],
];

await scenario('screenshots', async (stage) => {
  mkdirSync(folder, { recursive: true });
  const api = {};
  for (const name of ['ada', 'grace', 'linus']) api[name] = await stage.api().register(name);
  const ids = {};
  for (const [name, one] of Object.entries(api)) ids[name] = (await one.me()).id;
  const rooms = {};
  for (const name of ['engines', 'release-planning', 'lunch']) {
    const room = await api.grace.createRoom(name);
    rooms[name] = room.id;
    for (const other of ['ada', 'linus']) await api[other].call('POST', `/api/rooms/${room.id}/join`);
  }
  for (const [who, text] of TALK) await api[who].send(rooms.engines, text);
  const held = await api.ada.history(rooms.engines);
  const react = (who, place, emoji) =>
    api[who].call('PUT', `/api/rooms/${rooms.engines}/messages/${held[place].seq}/reactions/${encodeURIComponent(emoji)}`);
  await react('linus', 0, '🎉');
  await react('ada', 0, '🎉');
  await react('grace', 7, '👍');
  await api.linus.send(rooms['release-planning'], 'The second machine is next. @ada can you join on Thursday?');
  await api.grace.send(rooms.lunch, 'Soup at twelve?');
  const direct = await api.grace.call('POST', '/api/direct', { user: ids.ada });
  await api.grace.send(direct.id, 'Thank you for the numbers!');

  for (const theme of ['light', 'dark']) {
    const ada = await stage.person('ada', { theme });
    await ada.signIn();
    await ada.open(`/r/${rooms.engines}`);
    await ada.sees('I will order the parts today.');
    await ada.page.evaluate(() => document.fonts.ready);
    await ada.page.screenshot({ path: `${folder}room-${theme}.png` });
    await ada.page.context().close();
  }
  const phone = await stage.person('ada', { width: 390, height: 844 });
  await phone.signIn();
  await phone.open(`/r/${rooms.engines}`);
  await phone.sees('I will order the parts today.');
  await phone.page.screenshot({ path: `${folder}phone.png` });
  await phone.page.context().close();

  // Somebody listens, and the rooms have something to do.
  const ada = await stage.person('ada');
  await ada.signIn();
  let talks = true;
  const talk = (async () => {
    for (let n = 0; talks; n += 1) {
      await api.linus.send(rooms.engines, `Reading ${n}`);
      if (n % 3 === 0) await api.grace.send(rooms.lunch, `Soup ${n}`);
      if (n % 7 === 0) await api.grace.send(direct.id, `Reading ${n}`);
      await sleep(60);
    }
  })();
  for (const [name, shape] of [['cluster', {}], ['cluster-phone', { theme: 'dark', width: 390, height: 844 }]]) {
    const root = await stage.person(stage.administratorName, shape);
    await root.signIn(stage.administratorPassword);
    await root.open('/admin');
    await root.page.getByRole('grid', { name: 'Map of shards by owner' }).waitFor();
    const busiest = root.page.getByRole('region', { name: 'Busiest rooms' });
    await busiest.getByText('a direct conversation').waitFor();
    if (name !== 'cluster') await busiest.first().scrollIntoViewIfNeeded();
    await root.page.screenshot({ path: `${folder}${name}.png` });
    await root.page.context().close();
  }
  talks = false;
  await talk;
});
