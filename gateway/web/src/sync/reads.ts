// Read marks on their way to the server: gathered for a moment, the highest of a room only, and said
// again with the next socket when there was no answer.
import type { Connection } from './connection.ts';
import type { Clock } from './env.ts';
import { READ_GATHER, RETRY_AFTER_MAX, RETRY_WAIT } from './limits.ts';
import { isPassing } from './wire.ts';

export class Reads {
  readonly #clock: Clock;
  readonly #connection: Connection;
  /** Marks without an answer. */
  readonly #marks = new Map<string, number>();
  readonly #sent = new Map<string, number>();
  #cancelTimer: (() => void) | null = null;

  constructor(clock: Clock, connection: Connection) {
    this.#clock = clock;
    this.#connection = connection;
  }

  mark(room: string, seq: number): void {
    if (seq <= (this.#marks.get(room) ?? 0)) return;
    this.#marks.set(room, seq);
    this.#plan(READ_GATHER);
  }

  disconnected(): void {
    this.#sent.clear();
  }

  pump(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    for (const [room, seq] of this.#marks) {
      if ((this.#sent.get(room) ?? 0) >= seq) continue;
      const sent = this.#connection.request({ type: 'read', room, seq }, (answer) => {
        if (answer === null) return;
        this.#sent.delete(room);
        if (answer.type === 'error' && isPassing(answer.code)) {
          this.#plan(Math.min(answer.retry_after_ms ?? RETRY_WAIT, RETRY_AFTER_MAX));
        } else if (this.#marks.get(room) === seq) {
          this.#marks.delete(room);
        } else {
          this.#plan(READ_GATHER);
        }
      });
      if (!sent) return;
      this.#sent.set(room, seq);
    }
  }

  #plan(ms: number): void {
    if (this.#cancelTimer === null) this.#cancelTimer = this.#clock.after(ms, () => this.pump());
  }

  close(): void {
    this.#cancelTimer?.();
    this.#marks.clear();
  }
}
