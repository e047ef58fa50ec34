// Read marks on their way to the server: gathered for a moment, the highest of a room only, and said
// again with the next socket when there was no answer.
import type { Connection } from './connection.ts';
import type { Clock } from './env.ts';
import { READ_GATHER, REFUSALS_MAX, RETRY_AFTER_MAX, RETRY_WAIT } from './limits.ts';
import { isPassing } from './wire.ts';

export interface ReadsListener {
  /** The server has the mark. */
  taken(room: string, seq: number): void;
  /** It was refused for good; what the server knows of the room is to be read. */
  refused(room: string): void;
}

export class Reads {
  readonly #clock: Clock;
  readonly #connection: Connection;
  readonly #listener: ReadsListener;
  /** How often the marks of a room were refused on the present socket. */
  readonly #refusals = new Map<string, number>();
  /** Marks without an answer. */
  readonly #marks = new Map<string, number>();
  readonly #sent = new Map<string, number>();
  #cancelTimer: (() => void) | null = null;

  constructor(clock: Clock, connection: Connection, listener: ReadsListener) {
    this.#listener = listener;
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
    this.#refusals.clear();
  }

  pump(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    for (const [room, seq] of this.#marks) {
      if ((this.#sent.get(room) ?? 0) >= seq) continue;
      // Before the request: the socket can end in it, and then nothing is sent any more.
      this.#sent.set(room, seq);
      const sent = this.#connection.request({ type: 'read', room, seq }, (answer) => {
        if (answer === null) return;
        this.#sent.delete(room);
        if (answer.type === 'ok') this.#listener.taken(room, seq);
        if (answer.type === 'error' && isPassing(answer.code, answer.retry_after_ms)) {
          this.#plan(Math.min(answer.retry_after_ms ?? RETRY_WAIT, RETRY_AFTER_MAX));
        } else if (this.#marks.get(room) === seq) {
          this.#marks.delete(room);
          if (answer.type === 'error') this.#wasRefused(room);
        } else {
          this.#plan(READ_GATHER);
        }
      });
      if (!sent) this.#sent.delete(room);
      if (this.#connection.state !== 'online') return;
    }
  }

  /** The user may not have been in the room just then. */
  #wasRefused(room: string): void {
    const times = (this.#refusals.get(room) ?? 0) + 1;
    this.#refusals.set(room, times);
    if (times <= REFUSALS_MAX) this.#listener.refused(room);
  }

  #plan(ms: number): void {
    if (this.#cancelTimer === null) this.#cancelTimer = this.#clock.after(ms, () => this.pump());
  }

  close(): void {
    this.#cancelTimer?.();
    this.#marks.clear();
  }
}
