// Following rooms over one socket after another: subscribing with cursors, taking each event once and
// in order, and fetching what did not come.
//
// Invariant: a room's events are applied in the order of their seqs, each once, however often and in
// whichever order they are heard. Where events are left out (`skipTo`), the room is told so, and both
// its messages and its counts start anew from the server's own.
import type { Connection } from './connection.ts';
import type { Clock } from './env.ts';
import { BACK_OFF_MAX, GAP_EVENTS_MAX, LOG_PAGE, RETRY_AFTER_MAX, RETRY_WAIT, SUBSCRIBE_ROOMS_MAX } from './limits.ts';
import type { Room } from './room.ts';
import {
  type Cursor, type ErrorFrame, type Event, type Gap, isPassing, type Ok, type Page, type RoomAnswer, type RoomEvent,
} from './wire.ts';

export interface FollowListener {
  /** The next event of a room. */
  event(room: Room, event: Event): void;
  /** A room left events out, or began: its messages and counts are to be read again. */
  restarted(room: Room): void;
  /** A room cannot be followed. */
  refused(room: Room, code: string): void;
  /** A room that could not be followed is followed. */
  recovered(room: Room): void;
}

export class Follow {
  readonly #clock: Clock;
  readonly #connection: Connection;
  readonly #rooms: ReadonlyMap<string, Room>;
  readonly #listener: FollowListener;
  #cancelTimer = (): void => {};

  constructor(clock: Clock, connection: Connection, rooms: ReadonlyMap<string, Room>, listener: FollowListener) {
    this.#clock = clock;
    this.#connection = connection;
    this.#rooms = rooms;
    this.#listener = listener;
  }

  /** The socket is gone. */
  disconnected(): void {
    this.#cancelTimer();
    for (const room of this.#rooms.values()) {
      room.feed.disconnected();
      room.asked = false;
      room.doubted = false;
      room.askedNotBefore = 0;
    }
  }

  /** Asks for what is due, and plans when to look again. */
  pump(): void {
    this.#cancelTimer();
    if (this.#connection.state !== 'online') return;
    const now = this.#clock.now();
    let next = Infinity;
    let due: Room[] = [];
    for (const room of this.#rooms.values()) {
      if (!room.asked) {
        if (room.askedNotBefore <= now) due.push(room);
        else next = Math.min(next, room.askedNotBefore);
      }
      const page = room.feed.pageDue;
      if (page === null) continue;
      if (page > now) next = Math.min(next, page);
      else this.#fill(room);
    }
    // What the user looks at first.
    due = due.sort((a, b) => b.opened - a.opened);
    for (let at = 0; at < due.length; at += SUBSCRIBE_ROOMS_MAX) this.#subscribe(due.slice(at, at + SUBSCRIBE_ROOMS_MAX));
    if (next !== Infinity) this.#cancelTimer = this.#clock.after(next - now, () => this.pump());
  }

  event(frame: RoomEvent): void {
    const room = this.#rooms.get(frame.room);
    if (room === undefined) return;
    const { type: _type, room: _room, gen, ...event } = frame;
    this.#take(room, gen, event);
    if (room.feed.pageDue !== null) this.pump();
  }

  gap(frame: Gap): void {
    const room = this.#rooms.get(frame.room);
    if (room === undefined) return;
    const { cursor } = room.feed;
    if (frame.from === 1 && cursor !== null && cursor.seq > 0) {
      // Everything is missing from what was already heard. It may be another history, which the answer to
      // a subscribe tells; if it is not, this one has lost its end.
      if (room.doubted) {
        room.skipTo(cursor.gen, frame.to);
        this.#listener.restarted(room);
      } else {
        room.doubted = true;
        room.asked = false;
      }
    }
    room.feed.missed(frame.to);
    this.pump();
  }

  /** A page says that the room's history is another one by now. */
  laterGeneration(room: Room, gen: number, head: number): void {
    if (room.feed.era(gen) !== 'later') return;
    room.skipTo(gen, head);
    this.#listener.restarted(room);
  }

  #take(room: Room, gen: number, event: Event): void {
    const era = room.feed.era(gen);
    if (era === 'former') return;
    // The server's database lost history while the room was followed.
    if (era === 'later') {
      room.skipTo(gen, event.seq - 1);
      this.#listener.restarted(room);
    }
    const place = room.feed.place(event.seq);
    if (place === 'ahead') room.feed.missed(event.seq);
    if (place !== 'next') return;
    room.feed.applied();
    this.#listener.event(room, event);
  }

  #subscribe(rooms: Room[]): void {
    const cursors: Record<string, Cursor | Record<string, never>> = {};
    for (const room of rooms) {
      room.asked = true;
      cursors[room.id] = room.feed.cursor ?? {};
    }
    const sent = this.#connection.request({ type: 'subscribe', rooms: cursors }, (answer) => {
      if (answer === null) return;
      for (const room of rooms) {
        if (this.#rooms.get(room.id) !== room) continue;
        if (answer.type === 'error') this.#refused(room, answer.code, answer.detail, answer.retry_after_ms);
        else this.#subscribed(room, answer.rooms?.[room.id]);
      }
      this.pump();
    });
    // The socket ended at an earlier write of the same pump: the next one asks for them.
    if (!sent) for (const room of rooms) room.asked = false;
  }

  #subscribed(room: Room, answer: RoomAnswer | undefined): void {
    if (answer === undefined) return this.#refused(room, 'internal', 'The server did not answer for this room.');
    if ('error' in answer) return this.#refused(room, answer.error, answer.detail ?? answer.error, answer.retry_after_ms);
    const recovered = room.error !== null || room.fault !== null;
    room.error = null;
    room.failures = 0;
    const before = room.feed.cursor;
    if (!room.feed.subscribed(answer.gen, answer.head)) {
      room.tally.reset();
      room.skipTo(answer.gen, answer.head);
      this.#listener.restarted(room);
    } else if (before === null) {
      // Events up to the head were not heard: the server counts them, and a page has them.
      room.hole = answer.head;
      room.timeline?.begin(answer.head);
      this.#listener.restarted(room);
    }
    if (recovered) this.#listener.recovered(room);
  }

  #refused(room: Room, code: string, detail: string, retryAfter?: number): void {
    const pause = this.#pause(room, code, retryAfter);
    if (pause !== null) {
      room.asked = false;
      room.askedNotBefore = this.#clock.now() + pause;
      return;
    }
    room.error = detail;
    this.#listener.refused(room, code);
  }

  /** How long a room rests after a refusal; null: it does not pass. A defect of the server may, and is asked ever more seldom. */
  #pause(room: Room, code: string, retryAfter: number | undefined): number | null {
    const least = Math.min(retryAfter ?? RETRY_WAIT, RETRY_AFTER_MAX);
    if (code === 'internal') {
      room.failures += 1;
      return Math.max(least, Math.min(RETRY_WAIT * 2 ** room.failures, BACK_OFF_MAX));
    }
    return isPassing(code, retryAfter) ? least : null;
  }

  /** Fetches what is missing, or leaves it out where nobody looks or it is too much. */
  #fill(room: Room): void {
    const { cursor, ahead, missing } = room.feed;
    if (cursor === null || ahead === null) return;
    if (room.timeline === null || missing > GAP_EVENTS_MAX) {
      room.skipTo(cursor.gen, ahead);
      return this.#listener.restarted(room);
    }
    room.feed.pageAsked();
    const sent = this.#connection.request(
      { type: 'history', room: room.id, after: cursor.seq, limit: LOG_PAGE, view: 'log' },
      (answer) => {
        if (answer === null || this.#rooms.get(room.id) !== room) return;
        this.#page(room, answer);
        this.pump();
      },
    );
    if (!sent) room.feed.pageEnded();
  }

  #page(room: Room, answer: Ok | ErrorFrame): void {
    const later = this.#clock.now() + RETRY_WAIT;
    if (answer.type === 'error') {
      const pause = this.#pause(room, answer.code, answer.retry_after_ms);
      if (pause !== null) return room.feed.pageEnded(this.#clock.now() + pause);
      // Without its history it is of no use to follow it.
      room.feed.disconnected();
      return this.#refused(room, answer.code, answer.detail);
    }
    const page = answer as unknown as Page;
    const era = room.feed.era(page.gen);
    room.feed.pageEnded();
    room.failures = 0;
    if (era === 'former') return room.feed.pageEnded(later);
    if (era === 'later') return this.laterGeneration(room, page.gen, page.as_of);
    const before = room.feed.cursor?.seq;
    for (const { edited_at: _e, deleted: _d, reactions: _r, pinned: _p, ...event } of page.messages) {
      this.#take(room, page.gen, event);
    }
    room.feed.missed(page.as_of);
    // A page without progress was read from a replica that is behind: not at once again.
    if (room.feed.cursor?.seq === before) room.feed.pageEnded(later);
  }
}
