// How much of a room is unread. Pure. The server counts up to the head that its summary names, and
// what is heard live after that is counted here; both move with the read mark.
import { UNREAD_KEPT, UNREAD_MAX } from './limits.ts';
import { mentionsUser } from './mentions.ts';
import type { Event, User } from './wire.ts';

export interface Summary {
  head: number;
  read: number;
  unread: number;
  mentions: number;
}

export class Tally {
  #base: Summary = { head: 0, read: 0, unread: 0, mentions: 0 };
  #live: { seq: number; mention: boolean }[] = [];
  /** The last deletes and edits: a summary can be older than they are. */
  #deletes: { seq: number; target: number }[] = [];
  #edits: { seq: number; target: number; mention: boolean }[] = [];
  #read = 0;
  /** The read mark is somewhere inside of what only the server can count. */
  #readInside = false;

  /** Something changed inside of what only the server can count. */
  get uncertain(): boolean {
    const { head, unread, mentions } = this.#base;
    if (this.#readInside) return true;
    const inside = (one: { seq: number; target: number }): boolean =>
      one.seq > head && one.target > this.#read && one.target <= head;
    // Whether the server counted what was deleted since is not known here, nor what was edited since mentioned before.
    if (unread + mentions > 0 && this.#deletes.some(inside)) return true;
    return this.#edits.some((one) => inside(one) && (one.mention || mentions > 0));
  }

  get read(): number {
    return this.#read;
  }

  /** The head of the last summary. */
  get summarised(): number {
    return this.#base.head;
  }

  get unread(): number {
    return Math.min(UNREAD_MAX, this.#base.unread + this.#live.length);
  }

  get mentions(): number {
    const live = this.#live.filter((one) => one.mention).length;
    return Math.min(UNREAD_MAX, this.#base.mentions + live);
  }

  /** What the server counted. */
  summary(summary: Summary): void {
    if (summary.head < this.#base.head) {
      // Older than the last one: what lies between is not known one by one any more.
      this.readTo(summary.read);
      return;
    }
    this.#base = summary;
    this.#read = Math.max(this.#read, summary.read);
    this.#live = this.#live.filter((one) => one.seq > summary.head);
    this.#deletes = this.#deletes.filter((one) => one.seq > summary.head);
    this.#edits = this.#edits.filter((one) => one.seq > summary.head);
    this.#readInside = false;
    if (summary.read < this.#read) this.#settle();
  }

  /** Another history: seqs mean something else. */
  reset(): void {
    this.#base = { head: 0, read: 0, unread: 0, mentions: 0 };
    this.#live = [];
    this.#deletes = [];
    this.#edits = [];
    this.#read = 0;
    this.#readInside = false;
  }

  /** The next event of the room. */
  apply(event: Event, me: User): void {
    const { target = 0 } = event;
    if (event.kind === 'delete') {
      this.#live = this.#live.filter((one) => one.seq !== target);
      this.#deletes.push({ seq: event.seq, target });
      if (this.#deletes.length > UNREAD_KEPT) this.#deletes.shift();
      return;
    }
    if (event.sender.id === me.id) return;
    const mention = event.enc !== true && mentionsUser(event.body ?? '', me.username);
    if (event.kind === 'edit') {
      this.#live = this.#live.map((one) => (one.seq === target ? { ...one, mention } : one));
      this.#edits.push({ seq: event.seq, target, mention });
      if (this.#edits.length > UNREAD_KEPT) this.#edits.shift();
      return;
    }
    if (event.kind !== 'message' || event.seq <= this.#read || event.seq <= this.#base.head) return;
    this.#live.push({ seq: event.seq, mention });
    if (this.#live.length > 2 * UNREAD_KEPT) this.#live = this.#live.slice(-UNREAD_KEPT);
  }

  /** The user has read up to here, on whichever device. True when it is news. */
  readTo(seq: number): boolean {
    if (seq <= this.#read) return false;
    this.#read = seq;
    this.#settle();
    return true;
  }

  #settle(): void {
    this.#live = this.#live.filter((one) => one.seq > this.#read);
    if (this.#read >= this.#base.head) {
      this.#base = { ...this.#base, unread: 0, mentions: 0 };
      this.#readInside = false;
    } else {
      this.#readInside = this.#base.unread + this.#base.mentions > 0;
    }
  }
}
