// One followed room: which event comes next, and what is missing. Pure. Nothing is buffered: what
// cannot be applied now is fetched from history later.
import type { Cursor } from './wire.ts';

export type Place = 'next' | 'known' | 'ahead';
export type Era = 'present' | 'former' | 'later';

export class Feed {
  /** The last applied event; null before the first answer to a subscribe. */
  cursor: Cursor | null;
  /** There are events up to this one that did not come live. */
  #ahead: number | null = null;
  /** A page is on its way. */
  #asking = false;
  /** No page before this. */
  #notBefore = 0;

  constructor(cursor: Cursor | null = null) {
    this.cursor = cursor;
  }

  /** The socket is gone, and with it the page that was asked for. */
  disconnected(): void {
    this.#ahead = null;
    this.#asking = false;
    this.#notBefore = 0;
  }

  /** The answer to a subscribe; false when the history is another one than before. */
  subscribed(gen: number, head: number): boolean {
    if (this.cursor?.gen === gen) return true;
    const first = this.cursor === null;
    this.reset(gen, head);
    return first;
  }

  /** Of which history something of this generation is. */
  era(gen: number): Era {
    if (this.cursor === null || this.cursor.gen === gen) return 'present';
    return this.cursor.gen < gen ? 'later' : 'former';
  }

  /** What comes after `seq` is due from now on. */
  reset(gen: number, seq: number): void {
    this.cursor = { gen, seq };
    this.#ahead = null;
  }

  place(seq: number): Place {
    // Before the answer to a subscribe nothing is due.
    if (this.cursor === null || seq <= this.cursor.seq) return 'known';
    return seq === this.cursor.seq + 1 ? 'next' : 'ahead';
  }

  /** The event that was `next` is applied. */
  applied(): void {
    if (this.cursor === null) throw new Error('an event has a place only after a cursor');
    this.cursor = { gen: this.cursor.gen, seq: this.cursor.seq + 1 };
    if (this.#ahead !== null && this.#ahead <= this.cursor.seq) this.#ahead = null;
  }

  /** Events up to `to` exist and were not applied. */
  missed(to: number): void {
    if (this.cursor !== null && to > this.cursor.seq) this.#ahead = Math.max(this.#ahead ?? 0, to);
  }

  /** How many events are known to be missing. */
  get missing(): number {
    return this.#ahead === null || this.cursor === null ? 0 : this.#ahead - this.cursor.seq;
  }

  get ahead(): number | null {
    return this.#ahead;
  }

  /** When a page may be asked for; null when none is wanted. */
  get pageDue(): number | null {
    return this.#ahead === null || this.#asking ? null : this.#notBefore;
  }

  pageAsked(): void {
    this.#asking = true;
  }

  /** The page came, or was refused: the next one not before then. */
  pageEnded(notBefore = 0): void {
    this.#asking = false;
    this.#notBefore = notBefore;
  }
}
