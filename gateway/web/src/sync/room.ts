// One room: what is known of it, what of it is unread, where its feed stands, and its messages while
// it is open. Pure but for the clock's values in events. Which events it gets, and when, is decided in
// `follow.ts` and `history.ts`.
import { Feed } from './feed.ts';
import { SHOWN_BEFORE_UNREAD, SHOWN_FIRST_MAX, SHOWN_PAGE } from './limits.ts';
import { mentionsUser } from './mentions.ts';
import { Tally } from './tally.ts';
import { Timeline } from './timeline.ts';
import type { Entry, Event, Role, Room as Wire, User } from './wire.ts';

export class Room {
  readonly id: string;
  readonly feed = new Feed();
  readonly tally = new Tally();
  meta: Wire;
  /** When the last event was (milliseconds). */
  lastAt: number | null = null;
  /** Its messages, while it is open. */
  timeline: Timeline | null = null;
  /** Grows each time it is opened: the least one is closed first. */
  opened = 0;
  /** Why it cannot be followed; null if it can, or if that is not known yet. */
  error: string | null = null;
  /** Why its messages could not be read; null once they are asked for again. */
  fault: string | null = null;
  /** How often in a row the server failed at it by a defect of its own. */
  failures = 0;
  /** Asked for or answered on the present socket. */
  asked = false;
  /** It was asked for a second time, because what it said looked like another history. */
  doubted = false;
  /** Not to be asked for before this. */
  askedNotBefore = 0;
  /** A summary must reach this head, because events up to it were not counted here. */
  hole = 0;
  /** The engine's tick of the last word about the user's membership. */
  membershipAt = 0;
  /** How far the user has read as the server knows. */
  readThere = 0;
  /** Newest first; null: not loaded. */
  pins: Entry[] | null = null;

  constructor(meta: Wire) {
    this.id = meta.id;
    this.meta = meta;
  }

  get role(): Role | null {
    return this.meta.role ?? null;
  }

  get head(): number {
    // A summary does not say of which generation it is; the feed does.
    return this.feed.cursor?.seq ?? this.tally.summarised;
  }

  /** What the server says of it. True: the summary reaches as far as it must. */
  described(meta: Wire): boolean {
    this.meta = { ...this.meta, ...meta };
    this.readThere = meta.read ?? this.readThere;
    const last = meta.last_at == null ? NaN : Date.parse(meta.last_at);
    if (!Number.isNaN(last)) this.lastAt = Math.max(this.lastAt ?? 0, last);
    if (meta.head === undefined) {
      // A server that does not count.
      this.tally.readTo(meta.read ?? 0);
      this.hole = 0;
      return true;
    }
    const { head, read = 0, unread = 0, mentions = 0 } = meta;
    this.tally.summary({ head, read, unread, mentions });
    if (head < this.hole) return false;
    this.hole = 0;
    return true;
  }

  /** The next event. True when an open conversation shows something new. */
  apply(event: Event, me: User): boolean {
    this.tally.apply(event, me);
    const at = Date.parse(event.sent_at);
    if (!Number.isNaN(at) && event.kind !== 'reaction' && event.kind !== 'pin') this.lastAt = at;
    if (event.kind === 'room') {
      this.meta = { ...this.meta, name: event.name ?? this.meta.name, topic: event.topic ?? this.meta.topic };
    }
    if (event.kind === 'member' && event.user?.id === me.id) {
      const role = event.change === 'left' || event.change === 'kicked' ? null : (event.role ?? this.role);
      this.meta = { ...this.meta, role };
    }
    return this.timeline?.apply(event) ?? false;
  }

  /** Events up to `seq` will not come: another history, or too many of them. */
  skipTo(gen: number, seq: number): void {
    const { cursor } = this.feed;
    if (cursor !== null && cursor.gen !== gen) this.tally.reset();
    this.feed.reset(gen, seq);
    // What was heard before is still true of the same history, as far as it goes.
    if (cursor?.gen === gen && seq >= cursor.seq) this.timeline?.skip(seq);
    else this.timeline?.reset(seq);
    this.hole = seq;
    this.pins = null;
  }

  /** Counts again from the messages, if they reach back to the read mark. */
  recount(me: User): void {
    const { timeline, tally } = this;
    const cursor = this.feed.cursor;
    if (!tally.uncertain || timeline === null || cursor === null) return;
    if (!timeline.atHead || timeline.lo > tally.read + 1 || cursor.seq < tally.summarised) return;
    let [unread, mentions] = [0, 0];
    for (const { entry } of timeline.entries) {
      if (entry.seq <= tally.read || entry.seq > cursor.seq || !isUnread(entry, me)) continue;
      unread += 1;
      if (entry.enc !== true && mentionsUser(entry.body ?? '', me.username)) mentions += 1;
    }
    tally.summary({ head: cursor.seq, read: tally.read, unread, mentions });
  }

  /** How many messages the first page has, so that it shows where the unread ones begin. */
  get firstPage(): number {
    return Math.min(SHOWN_FIRST_MAX, Math.max(SHOWN_PAGE, this.tally.unread + SHOWN_BEFORE_UNREAD));
  }
}

function isUnread(entry: Entry, me: User): boolean {
  return entry.kind === 'message' && entry.deleted === undefined && entry.sender.id !== me.id;
}
