// Requests that only read, over the socket: made again with every new socket, and after every refusal
// that passes, until they have an answer. A defect of the server may pass too, and is given a few tries.
import type { Connection } from './connection.ts';
import type { Clock } from './env.ts';
import { INTERNAL_TRIES, RETRY_AFTER_MAX, RETRY_WAIT } from './limits.ts';
import { Refusal } from './refusal.ts';
import { type ClientFrame, type ErrorFrame, isPassing, type Ok } from './wire.ts';

export class Requests {
  readonly #clock: Clock;
  readonly #connection: Connection;
  #waiting: (() => void)[] = [];
  #closed = false;

  constructor(clock: Clock, connection: Connection) {
    this.#clock = clock;
    this.#connection = connection;
  }

  /** A session began. */
  online(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const go of waiting) go();
  }

  /** Nothing is asked any more; who waits gets a refusal. */
  close(): void {
    this.#closed = true;
    this.online();
  }

  /** The answer; throws a `Refusal` that does not pass by itself. */
  async ask(frame: ClientFrame): Promise<Ok> {
    let failures = 0;
    for (;;) {
      if (this.#closed) throw Refusal.offline('The page was closed.');
      const answer = await new Promise<Ok | ErrorFrame | null>((resolve) => {
        if (!this.#connection.request(frame, resolve)) this.#waiting.push(() => resolve(null));
      });
      if (answer?.type === 'ok') return answer;
      if (answer === null) continue;
      const failed = answer.code === 'internal';
      if (failed) failures += 1;
      if (failed ? failures >= INTERNAL_TRIES : !isPassing(answer.code, answer.retry_after_ms)) throw new Refusal(answer.code, answer.detail);
      await this.pause(answer.retry_after_ms ?? RETRY_WAIT * 2 ** failures);
    }
  }

  pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#clock.after(Math.min(ms, RETRY_AFTER_MAX), resolve));
  }
}
