// The messages of one open room: a stretch of its log without holes, folded. Pure.
//
// Invariants. (1) Every message, member and room event with `lo <= seq <= hi` is in `entries`, once,
// ascending. (2) Each entry reflects every event up to its own `asOf`, and every note with a higher
// seq that was applied since. (3) Events are applied in the order of their seqs, each once, whether
// the stretch reaches the present or not.
//
// A page of history reflects the log up to its `as_of`, which can be before or after what was heard
// live. What the page is ahead of, (2) leaves aside when it comes live. What it is behind is applied
// from `recent`; when that does not reach far enough, the page is refused and is to be asked for again.
//
// The stretch is bounded. What is let go of is what is farthest from the reader, at the new end too: the
// stretch then ends before the present, and pages bring the rest when the reader comes there. So nothing
// that arrives takes away what is read. After events that were not heard, what is read stays as well: it
// is stale, which (2) allows until a page around the reader takes its place.
import { fold, isEntry, type Shown } from './fold.ts';
import { ITEMS_KEPT, ITEMS_MAX, RECENT_EVENTS_MAX } from './limits.ts';
import type { Entry, Event, Page } from './wire.ts';

export class Timeline {
  #entries: Shown[] = [];
  /** The stretch; null before the first page. */
  #lo: number | null = null;
  #hi = 0;
  /** The last event that was applied. */
  #head: number;
  /** The last events up to `#head`, ascending and without holes. */
  #recent: Event[] = [];
  /** Events that were not heard changed, or may have changed, what the stretch shows. */
  #stale = false;
  readonly #most: number;
  readonly #kept: number;
  /** Grows when the stretch is another one: a page that was asked for before is then worth nothing. */
  version = 0;
  /** The seq that the reader looks at; null: the newest, or nobody reads. */
  reader: number | null = null;

  constructor(head: number, most = ITEMS_MAX, kept = ITEMS_KEPT) {
    this.#head = head;
    this.#most = most;
    this.#kept = kept;
  }

  get entries(): readonly Shown[] {
    return this.#entries;
  }

  get loaded(): boolean {
    return this.#lo !== null;
  }

  get lo(): number {
    return this.#lo ?? 0;
  }

  get hi(): number {
    return this.#hi;
  }

  get hasOlder(): boolean {
    return this.#lo !== null && this.#lo > 1;
  }

  /** Whether the stretch reaches the present. */
  get atHead(): boolean {
    return this.#lo !== null && !this.#stale && this.#hi >= this.#head;
  }

  /** It is to be read again around the reader: see `skip`. */
  get stale(): boolean {
    return this.#stale;
  }

  at(seq: number): Shown | null {
    const index = this.#place(seq);
    const found = this.#entries[index];
    return found?.entry.seq === seq ? found : null;
  }

  /** Events are heard from after `head` on. False: what was loaded ends before that, and was dropped. */
  begin(head: number): boolean {
    this.#head = head;
    this.#recent = [];
    if (this.#lo === null || this.#hi >= head) return true;
    this.drop();
    return false;
  }

  /** Events up to `head` were not heard. Who reads further up keeps what is read until a page around it replaces it. */
  skip(head: number): void {
    if (this.#lo === null || this.reader === null) return this.reset(head);
    this.#head = head;
    this.#recent = [];
    this.#stale = true;
  }

  /** Another history: nothing that was held is of use. */
  reset(head: number): void {
    this.#head = head;
    this.#recent = [];
    this.reader = null;
    this.drop();
  }

  /** Forgets the stretch, not what was heard lately. */
  drop(): void {
    this.#entries = [];
    this.#lo = null;
    this.#hi = 0;
    this.#stale = false;
    this.version += 1;
  }

  /** The next event of the room. True when something that is shown changed. */
  apply(event: Event): boolean {
    if (event.seq !== this.#head + 1) throw new Error(`event ${event.seq} does not follow ${this.#head}`);
    const wasAtHead = this.atHead;
    this.#head = event.seq;
    this.#remember(event);
    const shown = this.#take(event, wasAtHead);
    return this.#trim() || shown;
  }

  /** The last page. False: it is older than what was heard and cannot be mended. */
  latest(page: Page): boolean {
    if (!this.#mendable(page)) return false;
    this.drop();
    this.#lo = page.more ? (page.messages[0]?.seq ?? 1) : 1;
    this.#hi = page.as_of;
    this.#entries = shownOf(page.messages, page);
    this.#mend(page, true);
    this.#trim();
    return true;
  }

  /** The page right before `lo`. */
  older(page: Page): boolean {
    if (this.#lo === null || !this.#mendable(page)) return false;
    const before = page.messages.filter((entry) => entry.seq < this.lo);
    this.#lo = page.more ? (before[0]?.seq ?? this.#lo) : 1;
    this.#entries = [...shownOf(before, page), ...this.#entries];
    this.#mend(page, false);
    this.#trim();
    return true;
  }

  /** The page right after `hi`. */
  newer(page: Page): boolean {
    if (this.#lo === null || !this.#mendable(page)) return false;
    const after = page.messages.filter((entry) => entry.seq > this.#hi);
    const reached = page.more ? (after.at(-1)?.seq ?? this.#hi) : Math.max(this.#hi, page.as_of);
    this.#entries = [...this.#entries, ...shownOf(after, page)];
    this.#hi = reached;
    this.#mend(page, !page.more);
    this.#trim();
    return true;
  }

  /** A stretch elsewhere: the page right after `from`, which begins it. */
  elsewhere(page: Page, from: number): boolean {
    if (!this.#mendable(page)) return false;
    this.drop();
    this.#lo = from + 1;
    this.#hi = from;
    return this.newer(page);
  }

  /** After which seq a page of `count` has the reader in its middle; null: the reader is at the newest. */
  around(count: number): number | null {
    if (this.reader === null) return null;
    const first = this.#entries[Math.max(0, this.#place(this.reader) - Math.floor(count / 2))];
    return Math.max(0, Math.min(first?.entry.seq ?? this.reader, this.reader) - 1);
  }

  /** Lets go of what is farthest from the reader when there is very much. True when it did. */
  #trim(): boolean {
    const last = this.#entries.length - this.#kept;
    if (this.#entries.length <= this.#most) return false;
    const from = this.reader === null ? last : Math.max(0, Math.min(this.#place(this.reader) - Math.floor(this.#kept / 2), last));
    const to = from + this.#kept;
    if (from > 0) this.#lo = this.#entries[from]?.entry.seq ?? this.#lo;
    if (to < this.#entries.length) this.#hi = this.#entries[to - 1]?.entry.seq ?? this.#hi;
    this.#entries = this.#entries.slice(from, to);
    this.version += 1;
    return true;
  }

  /** `append`: the stretch reached up to the event before this one. */
  #take(event: Event, append: boolean): boolean {
    if (!isEntry(event)) {
      if (append && event.seq > this.#hi) this.#hi = event.seq;
      return this.#note(event);
    }
    if (!append || event.seq <= this.#hi) return false;
    this.#entries.push({ entry: event, asOf: event.seq });
    this.#hi = event.seq;
    return true;
  }

  #note(event: Event): boolean {
    if (event.target === undefined) return false;
    const index = this.#place(event.target);
    const before = this.#entries[index];
    // Not loaded: a page that loads it later reflects the note.
    if (before === undefined || before.entry.seq !== event.target) return false;
    const after = fold(before, event);
    if (after === before) return false;
    this.#entries[index] = after;
    return after.entry !== before.entry;
  }

  /** Whether everything between the page and what was heard is still known. */
  #mendable(page: Page): boolean {
    if (page.as_of >= this.#head) return true;
    const first = this.#recent[0];
    return first !== undefined && first.seq <= page.as_of + 1;
  }

  /** Applies what was heard live and the page does not reflect. */
  #mend(page: Page, append: boolean): void {
    for (const event of this.#recent) {
      if (event.seq > page.as_of) this.#take(event, append && this.#hi >= event.seq - 1);
    }
  }

  #remember(event: Event): void {
    if (event.kind === 'delete') {
      // What is deleted is not kept here either.
      this.#recent = this.#recent.map((one) =>
        one.seq === event.target || (one.kind === 'edit' && one.target === event.target) ? blanked(one) : one,
      );
    }
    this.#recent.push(event);
    if (this.#recent.length > 2 * RECENT_EVENTS_MAX) this.#recent = this.#recent.slice(-RECENT_EVENTS_MAX);
  }

  /** The index of the first entry at or after `seq`. */
  #place(seq: number): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#entries[middle]?.entry.seq ?? Infinity) < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Those of a page that are shown. What a newer server has there besides is of no use to this client. */
function shownOf(entries: readonly Entry[], page: Page): Shown[] {
  return entries.filter(isEntry).map((entry) => ({ entry, asOf: page.as_of }));
}

function blanked(event: Event): Event {
  const { body: _body, enc: _enc, ...rest } = event;
  return rest;
}
