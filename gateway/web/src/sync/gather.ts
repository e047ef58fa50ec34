// A read that many events ask for: made once for all that ask within a pause, one at a time. The pause
// grows while they go on, so that a burst costs a few reads; what came last is never left out.
import type { Clock } from './env.ts';
import { REFRESH_GATHER, REFRESH_GATHER_MAX } from './limits.ts';

export class Gather {
  readonly #clock: Clock;
  readonly #read: () => Promise<void>;
  #pause = REFRESH_GATHER;
  #ended = -Infinity;
  #running: Promise<void> | null = null;
  /** Something changed after the read that is under way had begun. */
  #again = false;
  #cancel: (() => void) | null = null;
  #closed = false;

  constructor(clock: Clock, read: () => Promise<void>) {
    this.#clock = clock;
    this.#read = read;
  }

  /** Something changed: it is read after this. Nobody waits, so nobody hears of a failure. */
  ask(): void {
    if (this.#closed) return;
    if (this.#running !== null) {
      this.#again = true;
      return;
    }
    if (this.#cancel !== null) return;
    const isBurst = this.#clock.now() - this.#ended < this.#pause;
    this.#pause = isBurst ? Math.min(this.#pause * 2, REFRESH_GATHER_MAX) : REFRESH_GATHER;
    this.#cancel = this.#clock.after(this.#pause, () => void this.now().catch(() => {}));
  }

  /** Reads at once, or gives the read that is under way. */
  now(): Promise<void> {
    this.#cancel?.();
    this.#cancel = null;
    this.#running ??= this.#read().finally(() => this.#done());
    return this.#running;
  }

  /** What waits is not read any more. */
  close(): void {
    this.#closed = true;
    this.#cancel?.();
    this.#cancel = null;
  }

  #done(): void {
    this.#running = null;
    this.#ended = this.#clock.now();
    const again = this.#again;
    this.#again = false;
    if (again) this.ask();
  }
}
