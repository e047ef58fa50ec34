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

  /** The pause after one more failure; never below `least`, which is what the server asked for, and spread after it. */
  next(least = 0): number {
    const bound = Math.min(BACK_OFF_MAX, BACK_OFF_FIRST * 2 ** Math.min(this.#failures, 16));
    this.#failures += 1;
    const floor = least > 0 ? asked(least) + this.#random() * RETRY_SPREAD : 0;
    return Math.max(floor, this.#random() * bound);
  }
}

/** What of a pause that the server asked for is kept in any case. */
export function asked(retryAfterMs: number | null): number {
  return Math.min(retryAfterMs ?? 0, RETRY_AFTER_MAX);
}
