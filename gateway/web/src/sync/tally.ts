// How much of a room is unread. Pure. The server counts up to the head that its summary names, and
// what is heard live after that is counted here; both move with the read mark.
import { UNREAD_KEPT, UNREAD_MAX } from './limits.ts';
import { mentionsUser } from './mentions.ts';
import type { Event, User } from './wire.ts';

export interface Summary {
  head: number;
  read: number;
  unread: number;
  /** null: the server does not count them. */
  mentions: number | null;
}

export class Tally {
  #base: Summary & { mentions: number } = { head: 0, read: 0, unread: 0, mentions: 0 };
  #live: { seq: number; mention: boolean }[] = [];
  /** Messages after the read mark that were heard and mention the user, for a server that does not count them. */
  #mentions: number[] = [];
  /** The last deletes: a summary can be older than they are. */
  #deletes: { seq: number; target: number }[] = [];
  #read = 0;
  /** The read mark is somewhere inside of what only the server can count. */
  #readInside = false;

  /** Something changed inside of what only the server can count. */
  get uncertain(): boolean {
    const { head, unread } = this.#base;
    if (this.#readInside) return true;
    // Whether the server counted what was deleted since is not known here.
    return unread > 0 && this.#deletes.some((one) => one.seq > head && one.target > this.#read && one.target <= head);
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
    this.#base = { ...summary, mentions: summary.mentions ?? this.#known(summary) };
    this.#read = Math.max(this.#read, summary.read);
    this.#live = this.#live.filter((one) => one.seq > summary.head);
    this.#deletes = this.#deletes.filter((one) => one.seq > summary.head);
    this.#readInside = false;
    if (summary.read < this.#read) this.#settle();
  }

  /** Another history: seqs mean something else. */
  reset(): void {
    this.#base = { head: 0, read: 0, unread: 0, mentions: 0 };
    this.#live = [];
    this.#mentions = [];
    this.#deletes = [];
    this.#read = 0;
    this.#readInside = false;
  }

  /** The next event of the room. */
  apply(event: Event, me: User): void {
    if (event.kind === 'delete') {
      const target = event.target ?? 0;
      this.#live = this.#live.filter((one) => one.seq !== target);
      this.#mentions = this.#mentions.filter((seq) => seq !== target);
      this.#deletes.push({ seq: event.seq, target });
      if (this.#deletes.length > UNREAD_KEPT) this.#deletes.shift();
      return;
    }
    if (event.kind !== 'message' || event.sender.id === me.id) return;
    if (event.seq <= this.#read || event.seq <= this.#base.head) return;
    const mention = event.enc !== true && mentionsUser(event.body ?? '', me.username);
    this.#live.push({ seq: event.seq, mention });
    if (mention) this.#mentions = [...this.#mentions, event.seq].slice(-UNREAD_KEPT);
    if (this.#live.length > 2 * UNREAD_KEPT) this.#live = this.#live.slice(-UNREAD_KEPT);
  }

  /** The user has read up to here, on whichever device. True when it is news. */
  readTo(seq: number): boolean {
    if (seq <= this.#read) return false;
    this.#read = seq;
    this.#settle();
    return true;
  }

  /** How many mentions a summary without them stands for, as far as that is known here. */
  #known(summary: Summary): number {
    const read = Math.max(this.#read, summary.read);
    const heard = this.#mentions.filter((seq) => seq > read && seq <= summary.head).length;
    // What was known before holds as long as nothing of it was read or deleted.
    const holds = read <= this.#base.read && !this.uncertain;
    const live = this.#live.filter((one) => one.mention && one.seq <= summary.head).length;
    return Math.min(summary.unread, Math.max(heard, holds ? this.#base.mentions + live : 0));
  }

  #settle(): void {
    this.#mentions = this.#mentions.filter((seq) => seq > this.#read);
    this.#live = this.#live.filter((one) => one.seq > this.#read);
    if (this.#read >= this.#base.head) {
      this.#base = { ...this.#base, unread: 0, mentions: 0 };
      this.#readInside = false;
    } else {
      this.#readInside = this.#base.unread > 0;
    }
  }
}
