// Time that stands still until the test moves it: timers run in order, and what each began (promises,
// the database's callbacks) is done before the next one.
import type { Clock } from '../env.ts';

interface Timer {
  at: number;
  order: number;
  call: () => void;
}

export class FakeClock implements Clock {
  #now = 1_700_000_000_000;
  #order = 0;
  #timers: Timer[] = [];
  /** Rounds of the event loop after each timer; the database takes several for a transaction. */
  readonly #rounds: number;

  constructor(rounds = 6) {
    this.#rounds = rounds;
  }

  now(): number {
    return this.#now;
  }

  after(ms: number, call: () => void): () => void {
    const timer = { at: this.#now + Math.max(0, ms), order: this.#order++, call };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Runs everything that is due within so many milliseconds. */
  async run(ms: number): Promise<void> {
    const end = this.#now + ms;
    await this.settle();
    for (;;) {
      let next: Timer | null = null;
      for (const timer of this.#timers) {
        if (timer.at > end) continue;
        if (next === null || timer.at < next.at || (timer.at === next.at && timer.order < next.order)) next = timer;
      }
      if (next === null) break;
      const due = next;
      this.#timers = this.#timers.filter((other) => other !== due);
      this.#now = Math.max(this.#now, due.at);
      due.call();
      await this.settle();
    }
    this.#now = end;
  }

  async settle(): Promise<void> {
    for (let round = 0; round < this.#rounds; round += 1) await new Promise((resolve) => setImmediate(resolve));
  }
}
