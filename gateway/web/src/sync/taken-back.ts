// What is over for good and may still be on disk, because it could not be taken off: by a word for each in the
// browser's other memory (localStorage), which can work when the disk does not and outlives the page. So a window
// that finds such a change on disk does not send it. Where that memory takes nothing either, nothing knows of it
// once the page and all others that heard of it are gone.
import type { Env } from './env.ts';
import { OUTBOX_LOOK } from './limits.ts';

export class TakenBack {
  readonly #env: Env;
  readonly #prefix: string;

  constructor(env: Env, user: string) {
    this.#env = env;
    this.#prefix = `parlance.taken-back.${user}.`;
  }

  /** To be said before it is taken off the disk: the page can end at any moment. */
  add(key: string): void {
    this.#env.memory.set(this.#prefix + key, String(this.#env.clock.now()));
  }

  has(key: string): boolean {
    return this.#env.memory.get(this.#prefix + key) !== null;
  }

  /** It is off the disk. */
  forget(key: string): void {
    this.#env.memory.set(this.#prefix + key, null);
  }

  /** Forgets what is not on disk any more. What was said just now stays: its window may still have been writing it. */
  sweep(onDisk: ReadonlySet<string>): void {
    const { memory, clock } = this.#env;
    for (const name of memory.names()) {
      if (!name.startsWith(this.#prefix) || onDisk.has(name.slice(this.#prefix.length))) continue;
      if (Math.abs(clock.now() - Number(memory.get(name))) > OUTBOX_LOOK) memory.set(name, null);
    }
  }
}
