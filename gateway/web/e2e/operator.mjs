// The operator's page on a real cluster: three nodes, and a hand on them.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { hasNoBarriers } from './stage/barriers.mjs';
import { scenario, until } from './stage/index.mjs';

/** Rooms by load, of all nodes: with their names, a direct conversation without, and never with what is said. */
async function showsTheBusiestRooms(stage, ada, root) {
  const api = await stage.api().signIn('ada');
  const other = await (await stage.administrator()).me();
  const room = await api.createRoom('engine-room');
  const direct = await api.call('POST', '/api/direct', { user: other.id });
  await ada.open(`/r/${room.id}`);
  await ada.isInRoom('engine-room');
  let talks = true;
  const talk = (async () => {
    for (let n = 0; talks; n += 1) {
      await api.send(room.id, `loose-words ${n}`);
      if (n % 5 === 0) await api.send(direct.id, `loose-words ${n}`);
      await sleep(50);
    }
  })();
  const rows = root.page.getByRole('region', { name: 'Busiest rooms' }).getByRole('row');
  const engines = rows.filter({ hasText: 'engine-room' });
  await engines.waitFor();
  await rows.filter({ hasText: 'a direct conversation' }).waitFor();
  // Ada's socket may be on another node than the room's owner: what both say is added up.
  const numbers = async () => (await engines.getByRole('cell').allInnerTexts()).slice(0, 3).map(Number);
  await until('deliveries, events and sessions are counted', async () => (await numbers()).every((one) => one > 0));
  await until('the busiest is first', async () => (await rows.nth(1).innerText()).includes('engine-room'));
  assert.equal((await root.page.getByRole('main').innerText()).includes('loose-words'), false);
  await hasNoBarriers(root.page, 'the page with busy rooms');
  for (const theme of ['light', 'dark']) {
    const phone = await stage.person(stage.administratorName, { theme, width: 390, height: 844 });
    await phone.signIn(stage.administratorPassword);
    await phone.open('/admin');
    await phone.page.getByRole('region', { name: 'Busiest rooms' }).getByText('engine-room').waitFor();
    await hasNoBarriers(phone.page, `the page with busy rooms on a phone (${theme})`, theme);
    await phone.page.context().close();
  }
  talks = false;
  await talk;
}

/** The directory, as its leader sees it: that one alone knows how far the others are behind. */
async function showsTheDirectory(stage, root, names) {
  const { page } = root;
  const raft = page.getByRole('region', { name: 'Directory (Raft)' });
  const said = async (term) => {
    const text = await raft.locator('div').filter({ has: page.getByText(term, { exact: true }) }).locator('dd').innerText();
    return text.trim().replaceAll(/ \(\d+\)/g, '');
  };
  // Its nodes listen beside the balancer, each at its number.
  await until('the leader is asked', async () => {
    const leader = await said('Leader');
    if (await page.getByText(`seen by ${leader} `).count() > 0) return true;
    const url = new URL('/admin', stage.url);
    url.port = String(Number(url.port) + names.indexOf(leader) + 1);
    await page.goto(url.href);
    await raft.waitFor();
    return false;
  });
  const leader = await said('Leader');
  const others = names.filter((name) => name !== leader);
  assert.equal(others.length, names.length - 1, leader);
  assert.ok(Number(await said('Term')) > 0);
  assert.equal(await said('Lease here'), 'held');
  const [, applied, last] = (await said('Applied here')).match(/^(\d+) of (\d+)$/).map(Number);
  assert.ok(applied > 0 && applied <= last, `${applied} of ${last}`);
  assert.deepEqual((await said('Voters')).split(', ').sort(), names);
  assert.equal(await said('Learners'), 'none');
  await until('the others keep up', async () => {
    const behind = (await said('Behind the leader')).split(', ').sort();
    if (behind.length === 2 && behind.every((one, at) => new RegExp(`^${others[at]}: \\d+$`).test(one))) return true;
    throw new Error(behind.join());
  });
  await root.open('/admin');
}

await scenario('operator', async (stage) => {
  const ada = await stage.person('ada');
  await ada.register();
  await ada.open('/admin');
  await ada.page.getByText('This page is for administrators.').waitFor();

  const root = await stage.person(stage.administratorName);
  await root.signIn(stage.administratorPassword);
  const { page } = root;
  await root.open('/admin');
  const nodes = page.getByRole('region', { name: 'Nodes' }).getByRole('row');
  const node = (name) => nodes.filter({ hasText: name }).first();
  const shardsOf = async (name) => Number(await node(name).getByRole('cell').nth(1).innerText());
  for (const name of ['node-1', 'node-2', 'node-3']) await node(name).getByText('up', { exact: true }).waitFor();
  await until('all shards have owners', async () => {
    const all = await Promise.all(['node-1', 'node-2', 'node-3'].map(shardsOf));
    return all.reduce((sum, one) => sum + one, 0) === 256 && all.every((one) => one > 0);
  });
  assert.equal(await page.getByRole('gridcell').count(), 256);
  await page.getByText('3 nodes serve all 256 shards.').waitFor();
  assert.match(await page.getByRole('region', { name: 'Nodes' }).getByRole('img').first().getAttribute('aria-label'), /Events a second of node-\d/);
  await page.getByRole('region', { name: /^Links of/ }).getByText('connected').first().waitFor();
  await hasNoBarriers(page, 'the page of a cluster');

  await showsTheBusiestRooms(stage, ada, root);

  // The arrow keys go through the map; a shard is pinned, and moves there.
  const cell = (number) => page.locator(`[data-shard="${number}"]`);
  await cell(0).focus();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowRight');
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('data-shard')), '17');
  const owner = await cell(17).getAttribute('data-owner');
  const to = ['node-1', 'node-2', 'node-3'];
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog', { name: 'Shard 17' });
  const other = (await dialog.getByRole('option').allInnerTexts()).find((text) => !text.endsWith(`(${owner})`));
  await dialog.getByLabel('Node').selectOption({ label: other });
  await dialog.getByRole('button', { name: 'Pin to it' }).click();
  await dialog.waitFor({ state: 'hidden' });
  const number = other.match(/\((\d+)\)/)[1];
  await until('it is there', async () => (await cell(17).getAttribute('data-owner')) === number && /pinned to/.test(await cell(17).innerText()));
  await page.getByRole('region', { name: 'Recent moves' }).getByText('it is pinned').first().waitFor();
  await cell(17).click();
  await dialog.getByRole('button', { name: 'Unpin' }).click();
  await until('it is let go', async () => !(await cell(17).innerText()).includes('pinned'));

  // Moved without being pinned: it goes to its new owner, and those who move are told apart.
  const before = await cell(17).getAttribute('data-owner');
  await cell(17).click();
  assert.ok(await dialog.getByRole('button', { name: 'Move to it' }).isDisabled(), 'it is there already');
  const next = (await dialog.getByRole('option').allInnerTexts()).find((text) => !text.endsWith(`(${before})`));
  await dialog.getByLabel('Node').selectOption({ label: next });
  await dialog.getByRole('button', { name: 'Move to it' }).click();
  await dialog.waitFor({ state: 'hidden' });
  const [, name, id] = next.match(/^(\S+) \((\d+)\)$/);
  await until('it is at its new owner', async () => (await cell(17).getAttribute('data-owner')) === id);
  assert.ok(!/pinned/.test(await cell(17).innerText()), 'it is not held there');
  const move = page.getByRole('region', { name: 'Recent moves' }).getByRole('row').filter({ hasText: 'an operator' }).first();
  assert.match(await move.innerText(), new RegExp(`17\\s.*${name}`));
  await showsTheDirectory(stage, root, to);

  // A node gives everything away, and takes some again.
  await node('node-3').getByRole('button', { name: 'Drain' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  assert.equal(await node('node-3').getByText('draining').count(), 0, 'it was only asked');
  await node('node-3').getByRole('button', { name: 'Drain' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Drain' }).click();
  await node('node-3').getByText('draining', { exact: true }).waitFor();
  await until('it has no shards', async () => (await shardsOf('node-3')) === 0);
  await node('node-3').getByRole('button', { name: 'End drain' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'End drain' }).click();
  await node('node-3').getByText('up', { exact: true }).waitFor();
  await until('it has shards again', async () => (await shardsOf('node-3')) > 0);

  // What is not possible is said where it was asked for.
  const held = await (await stage.administrator()).cluster();
  assert.deepEqual(held.nodes.map((one) => one.name).sort(), to);
});
