// The node that holds somebody's connection is killed, and the chat goes on.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { scenario, until } from './stage/index.mjs';

await scenario('node-killed', async (stage) => {
  const root = await stage.administrator();
  const ada = await stage.person('ada');
  await ada.register();
  const room = await ada.createRoom('engines');
  // While she is alone, hers is the only session in the cluster.
  const under = await until('one node has the session', async () => {
    const busy = (await root.cluster()).nodes.filter((node) => node.sessions > 0);
    return busy.length === 1 ? busy[0].name : null;
  });
  const bob = await stage.person('bob');
  await bob.register();
  await stage.joins(bob, room, 'engines');
  await ada.say('engines', 'before 1');
  await bob.sees('before 1');
  await bob.say('engines', 'before 2');
  await ada.sees('before 2');

  const pid = Number(readFileSync(path.join(stage.cluster, `${under}.pid`), 'utf8'));
  process.kill(pid, 'SIGKILL');
  const during = [];
  for (let number = 1; number <= 5; number += 1) {
    await ada.say('engines', `ada meanwhile ${number}`);
    await bob.say('engines', `bob meanwhile ${number}`);
    during.push(`ada meanwhile ${number}`, `bob meanwhile ${number}`);
  }
  for (const text of during) {
    await ada.sees(text);
    await bob.sees(text);
  }
  await bob.say('engines', 'after 1');
  await ada.sees('after 1');
  await ada.say('engines', 'after 2');
  await bob.sees('after 2');

  const api = await stage.api().signIn('ada');
  const held = (await api.history(room)).map(({ seq, body }) => ({ seq, body }));
  assert.deepEqual(held.map((one) => one.body).sort(), ['before 1', 'before 2', 'after 1', 'after 2', ...during].sort());
  for (const person of [ada, bob]) {
    const shown = (await person.readAll()).filter((row) => row.body !== null);
    assert.deepEqual(shown.map(({ seq, body }) => ({ seq, body })), held, `what ${person.name} sees`);
  }
});
