// Waiting for what becomes true by itself.
import { setTimeout as sleep } from 'node:timers/promises';

/** How long anything may take on a busy machine; less for who works on a scenario. */
export const PATIENCE_MS = Number(process.env.E2E_PATIENCE_MS ?? 60_000);
const LOOK_MS = 50;

/** What `look` gives once it is neither false nor nothing; what it throws is shown when it never is. */
export async function until(what, look, patience = PATIENCE_MS) {
  const end = Date.now() + patience;
  let last = '';
  for (;;) {
    try {
      const found = await look();
      if (found !== false && found !== null && found !== undefined) return found;
    } catch (error) {
      last = `; last: ${error.message}`;
    }
    if (Date.now() > end) throw new Error(`it never happened: ${what}${last}`);
    await sleep(LOOK_MS);
  }
}
