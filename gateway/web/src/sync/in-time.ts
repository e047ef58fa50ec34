// Waiting for what may never answer.
import type { Clock } from './env.ts';

/** What `work` gives; null if that takes longer. It goes on all the same. */
export function inTime<T>(clock: Clock, ms: number, work: Promise<T>): Promise<T | null> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(ms, () => resolve(null));
    work.then(resolve, reject).finally(cancel);
  });
}
