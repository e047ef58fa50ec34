// The user's rooms: the list over HTTP, the user's own feed (`me`) over the socket, and summaries of
// single rooms when what was counted here is not enough.
//
// The feed has a revision. The list is read again after a welcome whose revision is not the last one
// that was heard, and after a change whose revision does not follow on it; so nothing of the feed is
// missed. What the feed said while a list was on its way is newer than the list.
import { asked, BackOff } from './back-off.ts';
import type { Env } from './env.ts';
import type { Http } from './http.ts';
import { LIST_MAX, LIST_PAGES_MAX, LIST_WITHOUT_SOCKET, REFRESH_GATHER, RETRY_WAIT, STALE_TRIES } from './limits.ts';
import { asRefusal, passes, Refusal } from './refusal.ts';
import { Room } from './room.ts';
import type { Me, Room as Wire } from './wire.ts';

export interface RoomListListener {
  /** Rooms came, went or changed; new ones are to be followed. */
  changed(): void;
  /** A room that was not known, or could not be followed, may be opened from now on. */
  came(room: Room): void;
  /** A room is not the user's any more. */
  removed(room: Room): void;
}

/** A summary that is to be had. */
interface Summary {
  /** Answers that were not enough. */
  tries: number;
  asking: boolean;
  /** Not to be asked for before this. */
  notBefore: number;
}

export class RoomList {
  readonly rooms = new Map<string, Room>();
  loaded = false;
  readonly #env: Env;
  readonly #http: Http;
  readonly #listener: RoomListListener;
  readonly #backOff: BackOff;
  /** The last revision of the user's feed that was heard. */
  #rev: number | null = null;
  /** Grows with each word about memberships, to tell what is newer than a list. */
  #tick = 0;
  /** Rooms that were left, and when by the tick. */
  readonly #left = new Map<string, number>();
  #reading = false;
  #again = false;
  #closed = false;
  #cancelTimer: (() => void) | null = null;
  /** The server asked not to read the list before this. */
  #notBefore = 0;
  /** Rooms whose summary is asked for, and those that are to be. */
  readonly #summaries = new Map<string, Summary>();
  #cancelSummaries: (() => void) | null = null;

  constructor(env: Env, http: Http, listener: RoomListListener) {
    this.#env = env;
    this.#http = http;
    this.#listener = listener;
    this.#backOff = new BackOff(env.random);
  }

  /** The list comes with the welcome; without a socket after a while. */
  start(): void {
    this.#plan(LIST_WITHOUT_SOCKET);
  }

  close(): void {
    this.#closed = true;
    this.#cancelTimer?.();
    this.#cancelSummaries?.();
  }

  welcome(rev: number): void {
    const missed = rev !== this.#rev || !this.loaded;
    this.#rev = rev;
    if (missed) this.refresh();
  }

  me(frame: Me): void {
    const follows = this.#rev === null || frame.rev <= this.#rev + 1;
    this.#rev = Math.max(this.#rev ?? 0, frame.rev);
    if (frame.read !== undefined) {
      const room = this.rooms.get(frame.read.room);
      // It may be on its way, from before this mark.
      if (room === undefined) this.#plan(REFRESH_GATHER);
      else {
        room.readThere = Math.max(room.readThere, frame.read.seq);
        if (room.tally.readTo(frame.read.seq)) this.#listener.changed();
      }
    }
    if (frame.room !== undefined) this.membership(frame.room.id, frame.room.role);
    if (!follows) this.#plan(REFRESH_GATHER);
  }

  /** The user is a member with this role from now on, or no longer. */
  membership(id: string, role: Wire['role']): void {
    this.#tick += 1;
    const room = this.rooms.get(id);
    if (role == null) {
      this.#left.set(id, this.#tick);
      if (room !== undefined) this.#remove(room);
      return this.#listener.changed();
    }
    this.#left.delete(id);
    if (room === undefined) return void this.#joined(id);
    room.membershipAt = this.#tick;
    room.meta = { ...room.meta, role };
    if (room.error !== null) {
      room.error = null;
      room.asked = false;
      this.#listener.came(room);
    }
    this.#listener.changed();
  }

  /** A room that an answer of the server described. */
  put(meta: Wire): Room {
    this.#tick += 1;
    this.#left.delete(meta.id);
    const room = this.#described(meta);
    room.membershipAt = this.#tick;
    this.#listener.changed();
    return room;
  }

  /** One room by itself, of the list or not. */
  async fetch(id: string): Promise<Room> {
    return this.put(await this.#fresh(id));
  }

  refresh(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    if (this.#closed) return;
    if (this.#reading) {
      this.#again = true;
      return;
    }
    const pause = this.#notBefore - this.#env.clock.now();
    if (pause > 0) return this.#plan(pause);
    this.#reading = true;
    void this.#read().then((after) => {
      this.#reading = false;
      if (this.#closed) return;
      const again = this.#again;
      this.#again = false;
      if (after !== null) this.#plan(after);
      else if (again) this.refresh();
    });
  }

  /** The room's own count is to be had from the server, until it reaches `room.hole`. */
  summarise(room: Room): void {
    if (this.#summaries.has(room.id)) return;
    this.#summaries.set(room.id, { tries: 0, asking: false, notBefore: this.#env.clock.now() + REFRESH_GATHER });
    this.#planSummaries();
  }

  #plan(ms: number): void {
    if (this.#closed) return;
    this.#cancelTimer ??= this.#env.clock.after(ms, () => this.refresh());
  }

  /** One room as it is described now, and not before the last word about the user's membership. */
  async #fresh(id: string): Promise<Wire> {
    for (let tries = 0; tries < STALE_TRIES; tries += 1) {
      const begun = this.#tick;
      const meta = await this.#http.call<Wire>('GET', `/api/rooms/${id}`);
      if (this.#closed) throw asRefusal('closed');
      // It was left while the answer was on its way: whether it can still be seen, another answer says.
      if ((this.#left.get(id) ?? 0) <= begun) return this.#present(meta, begun);
    }
    throw new Refusal('not_found', 'You are not in this room any more.');
  }

  /** An answer that was asked for at `begun`, with the role that was heard of since. */
  #present(meta: Wire, begun: number): Wire {
    const known = this.rooms.get(meta.id);
    return known !== undefined && known.membershipAt > begun ? { ...meta, role: known.role } : meta;
  }

  /** The user was added to a room that is not known. Where it cannot be read by itself, the list has it. */
  async #joined(id: string): Promise<void> {
    try {
      const meta = await this.#fresh(id);
      if (meta.role != null) return void this.put(meta);
    } catch (error) {
      this.#notBefore = Math.max(this.#notBefore, this.#env.clock.now() + asked(asRefusal(error).retryAfterMs));
    }
    this.#plan(REFRESH_GATHER);
  }

  /** Reads the list; when to try again, or null. */
  async #read(): Promise<number | null> {
    const begun = this.#tick;
    const metas: Wire[] = [];
    try {
      let more = true;
      for (let page = 0; more && page < LIST_PAGES_MAX; page += 1) {
        const last = metas.at(-1);
        const after = last === undefined ? '' : `&after=${last.id}`;
        const answer = await this.#http.call<{ rooms: Wire[]; more: boolean }>('GET', `/api/rooms?limit=${LIST_MAX}${after}`);
        metas.push(...answer.rooms);
        more = answer.more && answer.rooms.length > 0;
      }
    } catch (error) {
      const refusal = asRefusal(error);
      if (!passes(refusal)) return null;
      this.#notBefore = this.#env.clock.now() + asked(refusal.retryAfterMs);
      return this.#backOff.next(refusal.retryAfterMs ?? 0);
    }
    if (this.#closed) return null;
    this.#backOff.reset();
    const listed = new Set<string>();
    for (const meta of metas) {
      listed.add(meta.id);
      if ((this.#left.get(meta.id) ?? 0) > begun) continue;
      const { role = null } = this.#present(meta, begun);
      // Public rooms that the user is not in are in the list of older servers.
      if (role === null && !this.rooms.has(meta.id)) continue;
      this.#described({ ...meta, role });
    }
    for (const room of [...this.rooms.values()]) {
      if (!listed.has(room.id) && room.membershipAt <= begun && room.role !== null) this.#remove(room);
    }
    this.loaded = true;
    this.#listener.changed();
    return null;
  }

  #described(meta: Wire): Room {
    let room = this.rooms.get(meta.id);
    if (room === undefined) {
      room = new Room(meta);
      this.rooms.set(meta.id, room);
      this.#listener.came(room);
    }
    if (!room.described(meta)) this.summarise(room);
    else this.#summaries.delete(room.id);
    return room;
  }

  #remove(room: Room): void {
    this.rooms.delete(room.id);
    this.#summaries.delete(room.id);
    this.#listener.removed(room);
  }

  #askSummaries(): void {
    this.#cancelSummaries = null;
    if (this.#closed) return;
    const now = this.#env.clock.now();
    for (const [id, state] of this.#summaries) {
      const room = this.rooms.get(id);
      if (room === undefined || state.tries >= STALE_TRIES) this.#summaries.delete(id);
      else if (!state.asking && state.notBefore <= now) void this.#askSummary(room, state);
    }
    this.#planSummaries();
  }

  /** Those that are not being asked for, when the first of them may be. */
  #planSummaries(): void {
    this.#cancelSummaries?.();
    this.#cancelSummaries = null;
    const waiting = [...this.#summaries.values()].filter((state) => !state.asking);
    if (this.#closed || waiting.length === 0) return;
    const next = Math.min(...waiting.map((state) => state.notBefore));
    this.#cancelSummaries = this.#env.clock.after(next - this.#env.clock.now(), () => this.#askSummaries());
  }

  async #askSummary(room: Room, state: Summary): Promise<void> {
    state.asking = true;
    let pause = RETRY_WAIT;
    const begun = this.#tick;
    try {
      const meta = await this.#http.call<Wire>('GET', `/api/rooms/${room.id}`);
      // Only answers count: a network that is away for long is no reason to give up.
      state.tries += 1;
      if (this.rooms.get(room.id) !== room) return;
      if (room.described(this.#present(meta, begun)) && !room.tally.uncertain) this.#summaries.delete(room.id);
      this.#listener.changed();
    } catch (error) {
      const refusal = asRefusal(error);
      // The next list says what became of it.
      if (!passes(refusal)) this.#summaries.delete(room.id);
      pause = Math.max(pause, this.#backOff.next(refusal.retryAfterMs ?? 0));
    }
    state.asking = false;
    state.notBefore = this.#env.clock.now() + pause;
    this.#planSummaries();
  }
}
