// Whether the server on the other end of a socket still lives. Pure. A machine that stands still or
// lost its power closes nothing, and a browser shows no protocol pings; so the client asks with a
// ping of its own: in every heartbeat in which it said nothing, and when an answer is late on a
// socket that says nothing else.
import { LIFE_AFTER, LIFE_WAIT, SLEPT } from './limits.ts';

export type Beat = { what: 'wait'; until: number } | { what: 'ask' } | { what: 'dead' };

export class Pulse {
  readonly #heartbeat: number;
  #heardAt: number;
  #saidAt: number;
  /** When a ping asked for a sign of life, if nothing was heard since. */
  #askedAt: number | null = null;
  /** When the next beat was due. */
  #planned: number | null = null;

  constructor(now: number, heartbeat: number) {
    this.#heartbeat = heartbeat;
    this.#heardAt = now;
    this.#saidAt = now;
  }

  heard(now: number): void {
    this.#heardAt = now;
    this.#askedAt = null;
  }

  said(now: number): void {
    this.#saidAt = now;
  }

  /** The page woke, or the network changed: ask at once. */
  wake(): void {
    this.#askedAt = null;
    this.#saidAt = -Infinity;
  }

  /** `waitsSince`: when the oldest request without an answer went out. */
  beat(now: number, waitsSince: number | null): Beat {
    // After a sleep, what the server said meanwhile was not heard yet: it is asked again first.
    const slept = this.#planned !== null && now > this.#planned + SLEPT;
    this.#planned = null;
    if (this.#askedAt !== null && !slept) {
      const over = this.#askedAt + LIFE_WAIT;
      return now >= over ? { what: 'dead' } : this.#wait(over);
    }
    let due = this.#saidAt + this.#heartbeat;
    if (waitsSince !== null) due = Math.min(due, Math.max(waitsSince, this.#heardAt) + LIFE_AFTER);
    if (now < due && !slept) return this.#wait(due);
    this.#askedAt = now;
    return { what: 'ask' };
  }

  #wait(until: number): Beat {
    this.#planned = until;
    return { what: 'wait', until };
  }
}
