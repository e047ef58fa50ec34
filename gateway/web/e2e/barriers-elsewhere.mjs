// A line that is down, what is refused, and the pages beside the client, in light and dark: no barriers
// that axe can find.
import { hasNoBarriers } from './stage/barriers.mjs';
import { scenario } from './stage/index.mjs';

/** A line that is down, and what was refused when it was whole again. */
async function offline(stage, bob, theme) {
  const room = (await bob.createRoom(`loose-${theme}`)).id;
  const line = await stage.line();
  const eve = await stage.person('eve', { line, theme });
  await eve.signIn();
  await stage.joins(eve, room, `loose-${theme}`);
  line.cut();
  await eve.say(`loose-${theme}`, 'written offline');
  await eve.row('written offline').getByText('Waits for the connection').waitFor();
  await eve.page.getByText(/1 message waits/).waitFor();
  await hasNoBarriers(eve.page, `without a line (${theme})`, theme);
  const { id } = await (await stage.api().signIn('eve')).me();
  await bob.call('DELETE', `/api/rooms/${room}/members/${id}`);
  line.mend();
  await eve.page.getByText('You are not in this room any more.').waitFor();
  await hasNoBarriers(eve.page, `a room that is lost (${theme})`, theme);
  await bob.call('PUT', `/api/rooms/${room}/members/${id}`);
  await eve.enter(`loose-${theme}`);
  await eve.row('Not sent').waitFor();
  await hasNoBarriers(eve.page, `a message that was refused (${theme})`, theme);
  await eve.page.context().close();
}

/** The pages that are no part of the client. */
async function documents(stage, theme) {
  const reader = await stage.person('reader', { theme });
  const { page } = reader;
  const parts = [['calls', 'HTTP calls'], ['frames', 'Frames of the sockets'], ['errors', 'Error and close codes']];
  for (const [hash, title] of parts) {
    await reader.open(`/docs#${hash}`);
    await page.getByRole('heading', { level: 1, name: title }).waitFor();
    const piece = page.locator('details.op').first();
    if (await piece.count()) await piece.locator('summary').first().click();
    await hasNoBarriers(page, `/docs, ${hash} (${theme})`, null);
  }
  await reader.open('/api');
  await page.getByRole('heading').first().waitFor();
  await hasNoBarriers(page, `/api (${theme})`, null);
  await page.context().close();
}

await scenario('barriers-elsewhere', async (stage) => {
  const bob = await stage.api().register('bob');
  await stage.api().register('eve');
  for (const theme of ['light', 'dark']) {
    await offline(stage, bob, theme);
    await documents(stage, theme);
  }
});
