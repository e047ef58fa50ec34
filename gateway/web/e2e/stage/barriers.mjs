// What would keep people out who use a page by other means than eyes and a mouse: axe's rules for WCAG 2
// at the levels A and AA.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];

/** Fails with every barrier that is found on a page, which is to be light or dark; null: it has no word for that. */
export async function hasNoBarriers(page, what, theme = 'light') {
  // A browser that is busy tells a new page late what the system likes; colours change in the middle then.
  if (theme !== null) await page.waitForFunction((wanted) => document.documentElement.dataset.theme === wanted, theme);
  // What is half faded in has no colours of its own yet.
  await page.evaluate(() => Promise.allSettled(document.getAnimations()
    .filter((one) => one.effect?.getComputedTiming().endTime !== Infinity)
    .map((one) => one.finished)));
  // The browser's own tools run it, so that the page's policy need not allow it.
  await page.evaluate(`if (!window.axe) { ${axe} }`);
  const { violations, passes } = await page.evaluate(
    (rules) => window.axe.run(document, { runOnly: rules, resultTypes: ['violations', 'passes'] }),
    RULES,
  );
  if (passes.length === 0) throw new Error(`${what}: axe found nothing to look at`);
  if (violations.length === 0) return;
  const words = violations.map((one) => {
    const places = one.nodes.slice(0, 5).map((node) => `    ${node.target.join(' ')}: ${node.failureSummary?.replaceAll('\n', ' ')}`);
    return `  ${one.id}: ${one.help} (${one.nodes.length} places)\n${places.join('\n')}`;
  });
  throw new Error(`${what}: barriers\n${words.join('\n')}`);
}
