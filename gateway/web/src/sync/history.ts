// The messages of open rooms, page by page. A page that came too late (another stretch is shown by
// then) is left aside; one that is older than what was heard live is asked for again.
import type { Follow } from './follow.ts';
import { fold, isEntry, type Shown } from './fold.ts';
import {
  AROUND_PAGE, JUMP_EVENTS_MAX, PEEKED_MAX, RETRY_WAIT, SHOWN_BEFORE_UNREAD, SHOWN_PAGE, STALE_TRIES,
} from './limits.ts';
import { Refusal } from './refusal.ts';
import type { Requests } from './requests.ts';
import type { Room } from './room.ts';
import type { Timeline } from './timeline.ts';
import type { Entry, Event, Page } from './wire.ts';

export interface HistoryListener {
  /** What an open room shows changed. */
  shown(room: Room, entries: readonly Entry[]): void;
}

/** The page right before or right after a seq; neither: the last one. */
interface Range {
  before?: number;
  after?: number;
}

export class History {
  readonly #requests: Requests;
  readonly #follow: Follow;
  readonly #listener: HistoryListener;
  readonly #loading = new Map<string, { timeline: Timeline; done: Promise<void> }>();
  readonly #peeked = new Map<string, Shown>();
  /** What is being fetched one by one, and what was heard of it since. */
  readonly #peeking = new Set<{ key: string; notes: Event[] }>();

  constructor(requests: Requests, follow: Follow, listener: HistoryListener) {
    this.#requests = requests;
    this.#follow = follow;
    this.#listener = listener;
  }

  isLoading(room: Room, what: 'latest' | 'older' | 'newer'): boolean {
    return this.#loading.has(`${what}/${room.id}`);
  }

  /** The end of the log. */
  latest(room: Room): Promise<void> {
    return this.#once('latest', room, async (timeline) => {
      await this.#page(room, timeline, {}, room.firstPage, (page) => timeline.latest(page));
    });
  }

  /** Reads again what is stale, around the reader or, if that is where the reader is by now, the newest. */
  renew(room: Room): Promise<void> {
    return this.#once('renew', room, async (timeline) => {
      // Where a page ended before the reader: kinds that are not known here count in it. The next one begins close by.
      let missed: number | null = null;
      for (let tries = 0; timeline.stale && room.timeline === timeline && tries < STALE_TRIES; tries += 1) {
        const asked = timeline.reader;
        const isMissed = asked !== null && asked === missed;
        const after = isMissed ? Math.max(0, asked - SHOWN_BEFORE_UNREAD - 1) : timeline.around(AROUND_PAGE);
        if (after === null) return await this.latest(room);
        await this.#page(room, timeline, { after }, AROUND_PAGE, (page) => {
          const { reader } = timeline;
          const last = page.more ? (page.messages.at(-1)?.seq ?? after) : Infinity;
          // Somewhere else by now: what brought the reader there was read anew, or it is asked again from there.
          const isElsewhere = reader === null || reader <= after || reader > last;
          if (isElsewhere && reader === asked) missed = reader;
          return !timeline.stale || isElsewhere || timeline.elsewhere(page, after);
        });
      }
      // Who asked is to know: a list asks again and again for as long as it is stale, and rests after a refusal.
      if (timeline.stale && room.timeline === timeline) throw new Refusal('unavailable', 'The messages here could not be read again.');
    });
  }

  older(room: Room): Promise<void> {
    return this.#once('older', room, async (timeline) => {
      if (timeline.hasOlder) await this.#older(room, timeline);
    });
  }

  newer(room: Room): Promise<void> {
    return this.#once('newer', room, async (timeline) => {
      // No page after it makes a stale stretch reach the present.
      if (timeline.stale) return await this.renew(room);
      if (!timeline.loaded || timeline.atHead) return;
      await this.#page(room, timeline, { after: timeline.hi }, SHOWN_PAGE, (page) => timeline.newer(page));
    });
  }

  /** Loads what is needed so that `seq` is shown; false when there is no such message. */
  async jumpTo(room: Room, seq: number): Promise<boolean> {
    const { timeline } = room;
    if (timeline === null) return false;
    if (!timeline.loaded) await this.latest(room);
    if (timeline.loaded && seq < timeline.lo && timeline.lo - seq <= JUMP_EVENTS_MAX) {
      while (room.timeline === timeline && timeline.hasOlder && timeline.lo > seq) {
        const before = timeline.lo;
        await this.older(room);
        if (timeline.lo >= before) break;
      }
    }
    if (room.timeline === timeline && timeline.loaded && (seq < timeline.lo || seq > timeline.hi)) {
      const after = Math.max(0, seq - SHOWN_BEFORE_UNREAD - 1);
      await this.#page(room, timeline, { after }, SHOWN_PAGE, (page) => timeline.elsewhere(page, after));
    }
    return room.timeline === timeline && timeline.at(seq) !== null;
  }

  /** One message, shown or not. */
  async peek(room: Room, seq: number): Promise<Entry | null> {
    const key = `${room.id}/${seq}`;
    const held = room.timeline?.at(seq) ?? this.#peeked.get(key);
    if (held != null) return held.entry;
    const peeking = { key, notes: [] as Event[] };
    this.#peeking.add(peeking);
    const ask = this.#requests.ask({ type: 'history', room: room.id, after: seq - 1, limit: 1 });
    const answer = await ask.finally(() => this.#peeking.delete(peeking));
    const page = answer as unknown as Page;
    const entry = page.messages.find((one) => one.seq === seq && isEntry(one));
    if (entry === undefined) return null;
    const shown = peeking.notes.reduce(fold, { entry, asOf: page.as_of });
    if (this.#peeked.size >= PEEKED_MAX) this.#peeked.delete(this.#peeked.keys().next().value ?? '');
    this.#peeked.set(key, shown);
    return shown.entry;
  }

  /** What was fetched one by one hears of changes too. */
  noted(room: Room, event: Event): void {
    const key = `${room.id}/${event.target}`;
    for (const one of this.#peeking) if (one.key === key) one.notes.push(event);
    const held = this.#peeked.get(key);
    if (held !== undefined) this.#peeked.set(key, fold(held, event));
  }

  /** Forgets what was fetched one by one in a room. */
  forget(room: Room): void {
    for (const key of this.#peeked.keys()) if (key.startsWith(`${room.id}/`)) this.#peeked.delete(key);
  }

  async #older(room: Room, timeline: Timeline): Promise<void> {
    await this.#page(room, timeline, { before: timeline.lo }, SHOWN_PAGE, (page) => timeline.older(page));
  }

  /** One of its kind at a time for a timeline; who comes later waits for the same. */
  #once(what: string, room: Room, work: (timeline: Timeline) => Promise<void>): Promise<void> {
    const { timeline } = room;
    if (timeline === null) return Promise.resolve();
    const name = `${what}/${room.id}`;
    const before = this.#loading.get(name);
    // One for a timeline that was let go of brings nothing to this one.
    if (before?.timeline === timeline) return before.done;
    const done = work(timeline).finally(() => {
      if (this.#loading.get(name)?.done === done) this.#loading.delete(name);
      this.#listener.shown(room, []);
    });
    this.#loading.set(name, { timeline, done });
    this.#listener.shown(room, []);
    return done;
  }

  /** Asks until `take` took a page. */
  async #page(
    room: Room,
    timeline: Timeline,
    range: Range,
    limit: number,
    take: (page: Page) => boolean,
  ): Promise<void> {
    const isLatest = range.before === undefined && range.after === undefined;
    for (let tries = 0; tries < STALE_TRIES; tries += 1) {
      const { version } = timeline;
      const answer = await this.#requests.ask({ type: 'history', room: room.id, limit, ...range });
      if (room.timeline !== timeline) return;
      const page = answer as unknown as Page;
      this.#follow.laterGeneration(room, page.gen, page.as_of);
      if (timeline.version !== version && !isLatest) return;
      if (room.feed.era(page.gen) === 'present' && take(page)) {
        this.#listener.shown(room, page.messages);
        return;
      }
      await this.#requests.pause(RETRY_WAIT);
      if (room.timeline !== timeline) return;
      if (timeline.version !== version && !isLatest) return;
    }
    throw new Refusal('unavailable', 'The server answers with messages that are older than those shown.');
  }
}
