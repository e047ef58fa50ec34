// All that the menu of a message and the emoji picker do, with a mouse at a desk.
import { scenario } from './stage/index.mjs';
import { usesMenus } from './stage/menu.mjs';

await scenario('message-menu', async (stage) => {
  const bob = await stage.api().register('bob');
  await usesMenus(stage, bob, 'ada', {});
});
