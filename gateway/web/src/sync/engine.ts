// One signed-in user's conversation with the server: the parts of the engine, and what each hears of
// the others. It decides when things are read again; how is the parts' own business. Everything that
// it shows is read from `rooms`, `pending`, `typing` and the like after `changed` said so.
import { Connection } from './connection.ts';
import type { Env } from './env.ts';
import { isEntry } from './fold.ts';
import { Follow } from './follow.ts';
import { Gather } from './gather.ts';
import { History } from './history.ts';
import type { Http } from './http.ts';
import { OPEN_ROOMS_MAX, WATCH_USERS_MAX } from './limits.ts';
import { Outbox } from './outbox.ts';
import type { Pending } from './pending.ts';
import type { PeopleStore } from './people-store.ts';
import { People } from './people.ts';
import { Reads } from './reads.ts';
import { asRefusal, type Refusal } from './refusal.ts';
import { Requests } from './requests.ts';
import type { Room } from './room.ts';
import { RoomList } from './room-list.ts';
import { Timeline } from './timeline.ts';
import { Typing } from './typing.ts';
import type { Account, Change, Entry, Event, PresenceStatus, Room as WireRoom, ServerFrame, User, Welcome } from './wire.ts';

/** What changed: everything about rooms as a list, or what one room shows, and so on. */
export type Topic = 'connection' | 'rooms' | 'presence' | `room/${string}` | `typing/${string}`;

export interface EngineListener {
  /** `live`: by what came from the server unasked, of which much may come at once. */
  changed(topic: Topic, live: boolean): void;
  /** The next event of a room was heard, on this page for the first time. */
  heard(room: Room, event: Event): void;
  /** Something that nobody waits for was refused. */
  refused(refusal: Refusal): void;
  /** The server takes this page for another account; nothing is sent any more. */
  stranger(): void;
  /** A person is known by another name, or says something else of themselves. */
  named(user: User): void;
}

export class Engine {
  readonly account: Account;
  readonly connection: Connection;
  readonly history: History;
  readonly outbox: Outbox;
  readonly list: RoomList;
  readonly people: People;
  readonly #env: Env;
  readonly #http: Http;
  readonly #listener: EngineListener;
  readonly #requests: Requests;
  readonly #follow: Follow;
  readonly #reads: Reads;
  readonly #typing = new Typing();
  readonly #presence = new Map<string, PresenceStatus>();
  readonly #pins = new Map<string, Gather>();
  #watched: string[] = [];
  #mine: 'online' | 'away' = 'online';
  #opened = 0;
  /** A frame of the server is being taken in. */
  #hearing = false;
  #cancelTyping = (): void => {};

  /** `names`: where names outlive the page; null: nowhere. */
  constructor(env: Env, http: Http, account: Account, listener: EngineListener, names: PeopleStore | null = null) {
    this.#env = env;
    this.#http = http;
    this.account = account;
    this.#listener = listener;
    this.connection = new Connection(env, http, account.id, {
      welcome: (frame) => this.#welcome(frame),
      stranger: () => listener.stranger(),
      frame: (frame) => this.#frame(frame),
      down: () => this.#down(),
      changed: () => this.#tell('connection'),
    });
    this.#requests = new Requests(env.clock, this.connection);
    this.list = new RoomList(env, http, {
      changed: () => this.#roomsChanged(),
      came: (room) => this.#changed(room),
      removed: (room) => this.#removed(room),
    });
    this.#follow = new Follow(env.clock, this.connection, this.list.rooms, {
      event: (room, event) => this.#event(room, event),
      restarted: (room) => this.#restarted(room),
      refused: (room) => this.#changed(room),
      recovered: (room) => {
        this.#load(room);
        this.#changed(room);
      },
    });
    this.history = new History(this.#requests, this.#follow, {
      shown: (room, entries) => this.#shown(room, entries),
    });
    this.#reads = new Reads(env.clock, this.connection, {
      taken: (id, seq) => {
        const room = this.room(id);
        if (room !== null) room.readThere = Math.max(room.readThere, seq);
      },
      refused: (id) => {
        const room = this.room(id);
        if (room !== null) this.list.summarise(room);
      },
    });
    this.people = new People(env, http, account.id, names, {
      named: (user) => listener.named(user),
      stranger: () => listener.stranger(),
    });
    this.outbox = new Outbox(env, account.id, this.connection, {
      heard: (id, seq) => this.#isHeard(id, seq),
      changed: (id) => this.#outboxChanged(id),
      refused: (_change, refusal) => listener.refused(refusal),
    });
  }

  start(): void {
    this.people.start();
    this.list.start();
    this.connection.start();
  }

  /** The page woke, or the network is there again. */
  wake(): void {
    this.connection.wake();
    this.people.again();
    void this.outbox.look();
  }

  /**
   * The end. `forget`: nothing of the user stays on this machine; what is to be sent is the first to go, as the page
   * may end at any moment.
   */
  async stop(forget: boolean): Promise<void> {
    this.list.close();
    this.#requests.close();
    this.#reads.close();
    for (const pins of this.#pins.values()) pins.close();
    this.#cancelTyping();
    this.connection.stop();
    const outbox = forget ? this.outbox.closeAndForget() : this.outbox.close();
    await Promise.all([outbox, this.people.close(forget)]);
  }

  room(id: string): Room | null {
    return this.list.rooms.get(id) ?? null;
  }

  /** What is on its way and not among the messages yet. */
  pending(id: string): Pending[] {
    return this.outbox.pending(id);
  }

  typing(id: string): User[] {
    return this.#typing.people(id);
  }

  /** The user looks at a room: its messages are loaded and kept up to date from now on. */
  async open(id: string): Promise<Room> {
    const room = this.room(id) ?? (await this.list.fetch(id));
    room.opened = ++this.#opened;
    if (room.timeline === null) {
      room.timeline = new Timeline(room.feed.cursor?.seq ?? 0);
      this.#closeSome();
    }
    this.#load(room);
    this.#follow.pump();
    return room;
  }

  /** A person wants to see a room that was refused: everything about it may be asked for again. */
  retry(id: string): void {
    const room = this.room(id);
    if (room === null) return;
    if (room.error !== null) room.asked = false;
    room.error = null;
    room.fault = null;
    this.#changed(room);
  }

  change(id: string, change: Change): Promise<number> {
    return this.outbox.change(id, change);
  }

  send(id: string, body: string, replyTo: number | null): string {
    this.#typing.sent(id);
    return this.outbox.send(id, body, replyTo);
  }

  markRead(id: string, seq: number): void {
    const room = this.room(id);
    if (room === null || seq > Math.max(room.head, room.timeline?.hi ?? 0)) return;
    if (!room.tally.readTo(seq)) return;
    this.#reads.mark(id, seq);
    this.#counted(room);
    this.#tell('rooms');
  }

  sayTyping(id: string): void {
    if (this.connection.state !== 'online') return;
    if (this.#typing.say(id, this.#env.clock.now())) this.connection.say({ type: 'typing', room: id });
  }

  presence(user: string): PresenceStatus {
    if (user === this.account.id) return this.connection.state === 'online' ? this.#mine : 'offline';
    return this.#presence.get(user) ?? 'offline';
  }

  get mine(): 'online' | 'away' {
    return this.#mine;
  }

  setMine(status: 'online' | 'away'): void {
    if (status === this.#mine) return;
    this.#mine = status;
    this.connection.say({ type: 'presence', status });
    this.#tell('presence');
  }

  /** Replaces the list of those whose presence is told. */
  watch(users: readonly string[]): void {
    const wanted = [...new Set(users)].filter((user) => user !== this.account.id).slice(0, WATCH_USERS_MAX);
    if (wanted.length === this.#watched.length && wanted.every((user) => this.#watched.includes(user))) return;
    this.#watched = wanted;
    for (const user of this.#presence.keys()) if (!wanted.includes(user)) this.#presence.delete(user);
    this.connection.say({ type: 'presence', watch: wanted });
    this.#tell('presence');
  }

  /** Reads the pins of a room. */
  loadPins(id: string): Promise<void> {
    return this.#pinsOf(id).now();
  }

  #pinsOf(id: string): Gather {
    let pins = this.#pins.get(id);
    if (pins === undefined) {
      pins = new Gather(this.#env.clock, () => this.#readPins(id));
      this.#pins.set(id, pins);
    }
    return pins;
  }

  async #readPins(id: string): Promise<void> {
    const room = this.room(id);
    if (room === null) return;
    const answer = await this.#http.call<{ messages: Entry[] }>('GET', `/api/rooms/${id}/pins`);
    room.pins = answer.messages.filter(isEntry);
    this.#changed(room);
  }

  /** A room that an answer described is the user's from now on. */
  put(meta: WireRoom): Room {
    return this.list.put(meta);
  }

  #welcome(frame: Welcome): void {
    this.list.welcome(frame.rev);
    this.#follow.pump();
    this.outbox.pump();
    this.#reads.pump();
    if (this.#watched.length > 0 || this.#mine !== 'online') {
      this.connection.say({ type: 'presence', status: this.#mine, watch: this.#watched });
    }
    this.#requests.online();
    this.people.reached();
    this.#tell('presence');
  }

  #down(): void {
    this.#follow.disconnected();
    this.outbox.disconnected();
    this.#reads.disconnected();
    // Nobody is known to be there or to type any more.
    this.#presence.clear();
    this.#typing.clear();
    this.#tell('presence');
    for (const room of this.list.rooms.values()) {
      if (room.timeline !== null) this.#tell(`typing/${room.id}`);
    }
  }

  #frame(frame: ServerFrame): void {
    this.#hearing = true;
    try {
      this.#hear(frame);
    } finally {
      this.#hearing = false;
    }
  }

  #hear(frame: ServerFrame): void {
    switch (frame.type) {
      case 'event':
        return this.#follow.event(frame);
      case 'gap':
        return this.#follow.gap(frame);
      case 'me':
        return this.list.me(frame);
      case 'typing':
        if (frame.user.id === this.account.id) return;
        if (this.#typing.heard(frame.room, frame.user, this.#env.clock.now())) {
          this.#tell(`typing/${frame.room}`);
        }
        return this.#expireTyping();
      case 'presence':
        this.#presence.set(frame.user, frame.status);
        return this.#tell('presence');
      default:
        return;
    }
  }

  #event(room: Room, event: Event): void {
    const shown = room.apply(event, this.account);
    this.history.noted(room, event);
    this.outbox.seen(room.id, event);
    this.outbox.reached(room.id, event.seq);
    if (event.kind === 'message' && this.#typing.ended(room.id, event.sender.id)) {
      this.#tell(`typing/${room.id}`);
    }
    if (this.#touchesPins(room, event)) this.#pinsOf(room.id).ask();
    if (shown) this.#changed(room);
    this.#counted(room);
    this.#tell('rooms');
    this.#listener.heard(room, event);
  }

  #touchesPins(room: Room, event: Event): boolean {
    if (room.pins === null) return false;
    if (event.kind === 'pin') return true;
    return room.pins.some((pin) => pin.seq === event.target);
  }

  /** Events were left out: what the room shows and counts is read again. */
  #restarted(room: Room): void {
    this.history.forget(room);
    this.outbox.reached(room.id, room.feed.cursor?.seq ?? 0);
    if (room.meta.head !== undefined && room.tally.summarised < room.hole) this.list.summarise(room);
    else room.hole = 0;
    this.#load(room);
    this.#changed(room);
    this.#tell('rooms');
  }

  /** Pages came, or began or ceased to. */
  #shown(room: Room, entries: readonly Entry[]): void {
    for (const entry of entries) this.outbox.seen(room.id, entry);
    if (room.tally.uncertain) this.#counted(room);
    this.#changed(room);
  }

  /** The read mark moved to where only the server, or the messages, can count. */
  #counted(room: Room): void {
    if (!room.tally.uncertain) return;
    room.recount(this.account);
    if (room.tally.uncertain && room.meta.head !== undefined) this.list.summarise(room);
    this.#tell('rooms');
  }

  #load(room: Room): void {
    const { timeline } = room;
    if (timeline === null || (timeline.loaded && !timeline.stale)) return;
    if (room.fault !== null) this.#changed(room);
    room.fault = null;
    const loading = timeline.stale ? this.history.renew(room) : this.history.latest(room);
    loading.catch((error: unknown) => {
      if (room.timeline !== timeline || timeline.loaded) return;
      room.fault = asRefusal(error).message;
      this.#changed(room);
    });
  }

  #closeSome(): void {
    const open = [...this.list.rooms.values()].filter((room) => room.timeline !== null);
    open.sort((a, b) => b.opened - a.opened);
    for (const room of open.slice(OPEN_ROOMS_MAX)) {
      room.timeline = null;
      room.pins = null;
      this.history.forget(room);
      this.#changed(room);
    }
  }

  #roomsChanged(): void {
    for (const room of this.list.rooms.values()) {
      if (room.tally.uncertain) this.#counted(room);
      // What was read here did not reach the server.
      if (room.readThere < room.tally.read) this.#reads.mark(room.id, room.tally.read);
    }
    this.#follow.pump();
    this.#tell('rooms');
  }

  #removed(room: Room): void {
    this.connection.say({ type: 'unsubscribe', rooms: [room.id] });
    room.error ??= 'You are not in this room any more.';
    room.timeline = null;
    this.#pins.get(room.id)?.close();
    this.#pins.delete(room.id);
    this.outbox.reached(room.id, Infinity);
    this.#changed(room);
  }

  /** Whether what was sent is not waited for: heard, or in a room that is not followed. */
  #isHeard(id: string, seq: number): boolean {
    const room = this.room(id);
    if (room === null || room.timeline === null) return true;
    return (room.feed.cursor?.seq ?? 0) >= seq || room.timeline.at(seq) !== null;
  }

  #outboxChanged(id: string): void {
    this.#tell(`room/${id}`);
    this.#tell('connection');
  }

  #expireTyping(): void {
    this.#cancelTyping();
    const now = this.#env.clock.now();
    for (const room of this.#typing.expire(now)) this.#tell(`typing/${room}`);
    const next = this.#typing.nextAt;
    if (next !== null) this.#cancelTyping = this.#env.clock.after(next - now, () => this.#expireTyping());
  }

  #changed(room: Room): void {
    this.#tell(`room/${room.id}`);
  }

  #tell(topic: Topic): void {
    this.#listener.changed(topic, this.#hearing);
  }
}
