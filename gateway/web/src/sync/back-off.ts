// How long to wait before the next socket: full jitter under a doubling bound, so that the clients
// of a node that died do not come back together. Pure.
import { BACK_OFF_FIRST, BACK_OFF_MAX, RETRY_AFTER_MAX, RETRY_SPREAD } from './limits.ts';

export class BackOff {
  #failures = 0;
  readonly #random: () => number;

  constructor(random: () => number) {
    this.#random = random;
  }

  /** It worked: the next failure is a first one again. */
  reset(): void {
    this.#failures = 0;
  }

  /** The pause after one more failure. `least`: what the server asked for; the jitter comes on top. */
  next(least = 0): number {
    const bound = Math.min(BACK_OFF_MAX, BACK_OFF_FIRST * 2 ** Math.min(this.#failures, 16));
    this.#failures += 1;
    if (least > 0) return Math.min(least, RETRY_AFTER_MAX) + this.#random() * RETRY_SPREAD;
    return this.#random() * bound;
  }
}
