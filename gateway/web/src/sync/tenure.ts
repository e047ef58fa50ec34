// The lock that a window holds for as long as it lives, and whether what it took for its own still is. Where leases
// stand in for locks, others may have taken that over while the window stood still: then the disk knows.
import type { Env } from './env.ts';
import { lockOf } from './heirs.ts';
import { LEASE_POLL, LEASE_RENEW, STORE_WAIT } from './limits.ts';
import type { Lock } from './locks.ts';
import type { Stored } from './outbox-store.ts';

export class Tenure {
  readonly #env: Env;
  readonly #window: string;
  readonly #load: () => Promise<Stored[]>;
  /** null: not yet, or there are none. */
  #lock: Lock | null = null;
  /** The turn of it in which the disk was read. */
  #turn = 0;
  #isChecking = false;
  #isOver = false;
  /** It is not known whether the lock is held, and until then this window goes on all the same. */
  #without = 0;

  constructor(env: Env, window: string, load: () => Promise<Stored[]>) {
    this.#env = env;
    this.#window = window;
    this.#load = load;
  }

  /** Takes the lock; what is on disk then. Rejects where there is no disk or no lock. */
  async begin(): Promise<Stored[]> {
    const lock = await this.#env.locks.hold(lockOf(this.#window));
    this.#lock = lock;
    // Nobody waited for it any more.
    if (this.#isOver) lock.release();
    const { turn } = lock;
    const onDisk = await this.#load();
    this.#turn = turn;
    return onDisk;
  }

  end(): void {
    this.#isOver = true;
    this.#lock?.release();
  }

  /** To be asked right before something is sent. */
  get isSure(): boolean {
    const lock = this.#lock;
    if (lock === null || this.#env.clock.now() < this.#without) return true;
    return lock.isHeld && lock.turn === this.#turn;
  }

  /**
   * Finds out what is this window's by now, unless that is under way. `done` gets what is on disk, and null if that is
   * not known: a disk that fails holds nothing up, as a window that lives is asked before it is taken for gone.
   */
  async check(done: (onDisk: Stored[] | null) => void): Promise<void> {
    const lock = this.#lock;
    if (lock === null || this.#isChecking) return;
    this.#isChecking = true;
    const { clock } = this.#env;
    const late = new Promise<null>((resolve) => clock.after(STORE_WAIT, () => resolve(null)));
    const again = lock.isHeld || (await Promise.race([lock.again(), late]));
    const { turn } = lock;
    const onDisk = again === true ? await Promise.race([this.#load().catch(() => null), late]) : null;
    if (onDisk !== null) this.#turn = turn;
    else if (again !== false) this.#without = clock.now() + LEASE_RENEW;
    // Somebody is at it right now.
    else await new Promise<void>((resolve) => clock.after(LEASE_POLL, resolve));
    this.#isChecking = false;
    done(onDisk);
  }
}
