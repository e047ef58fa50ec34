// All that the menu of a message and the emoji picker do, by touch on a phone: a tap on a message shows what
// can be done with it.
import { scenario } from './stage/index.mjs';
import { usesMenus } from './stage/menu.mjs';

await scenario('touch', async (stage) => {
  const bob = await stage.api().register('bob');
  await usesMenus(stage, bob, 'ada', { touch: true, width: 390, height: 780 });
});
