// Windows that take turns by a word in the memory that they share: where the browser has no locks. Weaker than a
// lock, as two can write at once: a word counts when it is still there a moment later. A window that ended in its
// turn holds the others up until its word is old.
import type { Env } from './env.ts';
import { WORD, WORD_POLL, WORD_STANDS } from './limits.ts';

/** Waits for the turn, works, and gives the turn away. Rejects when `signal` comes before it. */
export async function agreed<T>(env: Env, name: string, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const mine = await spoken(env, name, signal);
  try {
    return await work();
  } finally {
    if (env.memory.get(name) === mine) env.memory.set(name, null);
  }
}

async function spoken(env: Env, name: string, signal: AbortSignal): Promise<string> {
  const { memory, clock } = env;
  const pause = (ms: number): Promise<void> => new Promise((resolve) => void clock.after(ms, resolve));
  for (;;) {
    signal.throwIfAborted();
    if (!counts(memory.get(name), clock.now())) {
      const mine = `${clock.now() + WORD} ${env.uuid()}`;
      memory.set(name, mine);
      await pause(WORD_STANDS);
      const found = memory.get(name);
      // A memory that keeps nothing gives no turns: everybody goes on.
      if (found === null || (found === mine && counts(mine, clock.now()))) return mine;
    }
    await pause(WORD_POLL * (0.5 + env.random()));
  }
}

/** Whether a word gives somebody the turn. One that ends too late is of a clock that was set back. */
function counts(word: string | null, now: number): boolean {
  const left = Number(word?.split(' ')[0] ?? 0) - now;
  return left > 0 && left <= WORD;
}
