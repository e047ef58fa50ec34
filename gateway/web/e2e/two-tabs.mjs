// Two tabs of one person: both follow, what is sent in one is in the other once, and signing out in one
// signs out the other.
import assert from 'node:assert/strict';
import { scenario, until } from './stage/index.mjs';

await scenario('two-tabs', async (stage) => {
  const first = await stage.person('ada');
  await first.register();
  const room = await first.createRoom('engines');
  const second = await stage.tabOf(first);
  await second.open(`/r/${room}`);
  await second.isInRoom('engines');

  for (let round = 1; round <= 3; round += 1) {
    await first.say('engines', `first tab ${round}`);
    await second.sees(`first tab ${round}`);
    await second.say('engines', `second tab ${round}`);
    await first.sees(`second tab ${round}`);
  }
  const bob = await stage.api().register('bob');
  await bob.call('POST', `/api/rooms/${room}/join`);
  await bob.send(room, 'from outside');
  const expected = [1, 2, 3].flatMap((round) => [`first tab ${round}`, `second tab ${round}`]);
  for (const tab of [first, second]) {
    await tab.sees('from outside');
    const bodies = (await tab.readAll()).map((row) => row.body).filter((body) => body !== null);
    assert.deepEqual(bodies, [...expected, 'from outside']);
  }

  // The one that stays goes on when the other is closed.
  await first.page.close();
  await bob.send(room, 'to the one that stays');
  await second.sees('to the one that stays');
  await second.say('engines', 'still here');
  await second.sees('still here');
  await until('the server has it once', async () => {
    const held = (await bob.history(room)).filter((one) => one.body === 'still here');
    return held.length === 1;
  });

  // Signing out in one signs out the other, and signing in signs in both.
  const third = await stage.tabOf(second);
  await third.open(`/r/${room}`);
  await third.sees('still here');
  await third.page.getByRole('button', { name: 'Your menu' }).click();
  await third.page.getByRole('button', { name: 'Sign out' }).click();
  for (const tab of [second, third]) {
    await tab.page.getByRole('heading', { name: 'Sign in to Parlance' }).waitFor();
    assert.equal(await tab.page.getByText('still here').count(), 0, 'what was said is not shown any more');
  }
  await second.signIn();
  await third.isIn();
  await third.enter('engines');
  await second.enter('engines');
  await third.say('engines', 'back again');
  await second.sees('back again');
});
