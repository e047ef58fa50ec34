// A server that speaks the protocol, badly: it loses sockets at any frame, says events twice or leaves
// them out behind a gap, refuses, answers late and out of turn, reads from replicas that are behind, and
// loses the end of its history. With `faults` off it is well. It is newer than the client: what it says
// has fields, frames, kinds of events and codes that the client does not know. What it holds is the truth of a test.
import type { Network } from './browser.ts';
import type { FakeWindow } from './browser.ts';
import type { FakeClock } from './clock.ts';
import { foldedLog, KINDS } from './oracle.ts';
import { Registry } from './registry.ts';
import { FakeSocket } from './socket.ts';
import type { Account, Change, Entry, Event, Page, ProfileChange, Room as WireRoom } from '../wire.ts';

/** A replay longer than this is a gap. The real one's is 200: here gaps are to be frequent. */
export const REPLAY_MAX = 8;

/** A field of a newer server. */
export const NOVEL = { novel: { of: [1, null, 'x'] } };

export interface ServerRoom {
  id: string;
  name: string;
  gen: number;
  log: Event[];
  members: Set<string>;
  keys: Map<string, number>;
  reads: Map<string, number>;
}

export class FakeServer implements Network {
  readonly clock: FakeClock;
  readonly random: () => number;
  readonly rooms = new Map<string, ServerRoom>();
  readonly users = new Map<string, Account>();
  readonly profiles = new Registry(this.users);
  readonly revs = new Map<string, number>();
  readonly sockets = new Set<FakeSocket>();
  /** How likely each single thing goes wrong; 0: all is well. */
  faults = 0;
  /** Nothing is reached at all. */
  down = false;
  /** What a test has refused. A subscribe is asked about for each of its rooms. */
  refuses: (what: string, room: string) => { code: string; detail: string; retry_after_ms?: number } | null = () => null;
  /** Keys on the wire, and from which window: none may be there from two. */
  readonly onTheWire = new Map<string, FakeSocket>();
  /** Keys that ever came. */
  readonly received = new Set<string>();
  readonly violations: string[] = [];
  /** Which window belongs to whom. */
  readonly #accounts = new Map<FakeWindow, Account>();

  constructor(clock: FakeClock, random: () => number) {
    this.clock = clock;
    this.random = random;
  }

  user(name: string): Account {
    const account = { id: `user-${name}`, username: name };
    this.users.set(account.id, account);
    this.revs.set(account.id, 1);
    return account;
  }

  room(name: string, members: Account[]): ServerRoom {
    const room: ServerRoom = {
      id: `room-${name}`, name, gen: 1, log: [], keys: new Map(), reads: new Map(),
      members: new Set(members.map((one) => one.id)),
    };
    this.rooms.set(room.id, room);
    return room;
  }

  signIn(window: FakeWindow, account: Account): void {
    this.#accounts.set(window, account);
  }

  accountOf(window: FakeWindow): Account {
    const account = this.#accounts.get(window);
    if (account === undefined) throw new Error('a window of nobody');
    return account;
  }

  chance(weight = 1): boolean {
    return this.random() < this.faults * weight;
  }

  pick(ms: number): number {
    return this.random() * ms;
  }

  openSocket(window: FakeWindow): FakeSocket {
    const socket = new FakeSocket(this, window);
    window.sockets.add(socket);
    this.sockets.add(socket);
    return socket;
  }

  /** Commits a change: its event, or the first one with the same key. */
  commit(room: ServerRoom, sender: Account, key: string, change: Change): { event: Event; repeated: boolean } {
    const name = `${sender.id}/${key}`;
    const first = room.keys.get(name);
    if (first !== undefined) return { event: room.log[first - 1] as Event, repeated: true };
    const event = this.#event(room, sender, key, change);
    room.log.push(event);
    room.keys.set(name, event.seq);
    if (change.type === 'delete') {
      for (const one of room.log) {
        if (one.seq === change.target || (one.kind === 'edit' && one.target === change.target)) delete one.body;
      }
    }
    this.publish(room, event);
    return { event, repeated: false };
  }

  /** An event of a kind that the client does not know: one with a place of its own, or a note on a message. */
  novelty(room: ServerRoom, sender: Account): void {
    const base = this.#base(room, sender, `novelty-${room.gen}-${room.log.length + 1}`);
    const target = 1 + Math.floor(this.random() * room.log.length);
    const fields = this.random() < 0.5 ? { kind: 'poll', body: 'tea or coffee? @ann @bob' } : { kind: 'vote', target };
    const event = { ...base, ...fields } as Event;
    room.log.push(event);
    this.publish(room, event);
  }

  publish(room: ServerRoom, event: Event): void {
    for (const socket of this.sockets) socket.publish(room, event);
  }

  /** The user's own feed. */
  tell(user: string, change: object): void {
    const rev = (this.revs.get(user) ?? 0) + 1;
    this.revs.set(user, rev);
    for (const socket of this.sockets) if (socket.account.id === user) socket.say({ type: 'me', rev, ...change });
  }

  read(room: ServerRoom, user: string, seq: number): void {
    const mark = Math.min(seq, room.log.length);
    if (mark <= (room.reads.get(user) ?? 0)) return;
    room.reads.set(user, mark);
    this.tell(user, { read: { room: room.id, seq: mark } });
  }

  join(room: ServerRoom, user: Account): void {
    if (room.members.has(user.id)) return;
    room.members.add(user.id);
    this.#member(room, user, 'joined');
    this.tell(user.id, { room: { id: room.id, role: 'member' } });
  }

  leave(room: ServerRoom, user: Account): void {
    if (!room.members.delete(user.id)) return;
    this.#member(room, user, 'left');
    for (const socket of this.sockets) if (socket.account.id === user.id) socket.follows.delete(room.id);
    this.tell(user.id, { room: { id: room.id, role: null } });
  }

  /** The database lost the end of a room's history. */
  loseHistory(room: ServerRoom, events: number): void {
    room.log.splice(Math.max(0, room.log.length - events));
    for (const [name, seq] of room.keys) if (seq > room.log.length) room.keys.delete(name);
    for (const [user, seq] of room.reads) room.reads.set(user, Math.min(seq, room.log.length));
    room.gen += 1;
    for (const socket of this.sockets) {
      const follow = socket.follows.get(room.id);
      if (follow !== undefined) socket.follows.set(room.id, { ...follow, cut: null });
    }
  }

  page(room: ServerRoom, ask: { before?: number; after?: number; limit?: number; view?: string }): Page {
    // A replica that is behind knows only the first part.
    const lag = this.chance(2) ? Math.floor(this.pick(6)) : 0;
    const log = room.log.slice(0, Math.max(0, room.log.length - lag));
    const all: Entry[] = ask.view === 'log' ? log : foldedLog(log, [...KINDS, 'poll']);
    const limit = ask.limit ?? 50;
    const { before, after } = ask;
    let found: Entry[];
    let more: boolean;
    if (after !== undefined) {
      const from = all.filter((entry) => entry.seq > after);
      found = from.slice(0, limit);
      more = from.length > limit;
    } else {
      const until = before === undefined ? all : all.filter((entry) => entry.seq < before);
      found = until.slice(-limit);
      more = until.length > limit;
    }
    return { room: room.id, gen: room.gen, messages: structuredClone(found), more, as_of: log.length, first: 1 };
  }

  async fetch(window: FakeWindow, path: string, init: RequestInit): Promise<Response> {
    await new Promise<void>((resolve) => this.clock.after(1 + this.pick(this.faults > 0 ? 400 : 20), resolve));
    if (this.down || this.chance(2)) throw new TypeError('network');
    if (this.chance()) {
      const body = { code: this.random() < 0.5 ? 'unavailable' : 'novel', detail: 'the database is away', novel: [1] };
      return Response.json(body, { status: 503, headers: { 'retry-after': '1' } });
    }
    const account = this.accountOf(window);
    const answer = this.#answer(account, init, new URL(path, 'http://x'));
    if (this.chance()) throw new TypeError('the answer was lost');
    return answer;
  }

  describe(room: ServerRoom, account: Account): WireRoom {
    const read = room.reads.get(account.id) ?? 0;
    const deleted = new Set(room.log.filter((one) => one.kind === 'delete').map((one) => one.target));
    const unread = room.log.filter(
      (one) => one.kind === 'message' && one.seq > read && one.sender.id !== account.id && !deleted.has(one.seq),
    );
    const latest = (message: Event): string =>
      room.log.filter((one) => one.kind === 'edit' && one.target === message.seq).at(-1)?.body ?? message.body ?? '';
    const name = new RegExp(`(^|\\s)@${account.username}(\\s|$)`, 'i');
    return {
      id: room.id, name: room.name, kind: 'private', topic: '',
      role: room.members.has(account.id) ? 'member' : null,
      read, head: room.log.length,
      unread: Math.min(100, unread.length),
      mentions: Math.min(100, unread.filter((one) => name.test(latest(one))).length),
      last_at: room.log.at(-1)?.sent_at ?? null,
      ...NOVEL,
    };
  }

  #answer(account: Account, { method = 'GET', body }: RequestInit, url: URL): Response {
    if (method === 'GET' && url.pathname === '/api/me') return Response.json({ ...account, ...this.profiles.of(account) });
    if (method === 'PATCH' && url.pathname === '/api/me') {
      return this.profiles.change(account, JSON.parse(String(body)) as ProfileChange);
    }
    if (method === 'GET' && url.pathname.startsWith('/api/users')) return this.profiles.answer(url);
    if (method === 'GET' && url.pathname === '/api/rooms') {
      const after = url.searchParams.get('after') ?? '';
      const mine = [...this.rooms.values()].filter((room) => room.members.has(account.id) && room.id > after);
      mine.sort((a, b) => (a.id < b.id ? -1 : 1));
      // Short pages, so that lists have several.
      const rooms = mine.slice(0, 2).map((room) => this.describe(room, account));
      return Response.json({ rooms, more: mine.length > 2 });
    }
    const room = this.rooms.get(/^\/api\/rooms\/([^/]+)$/.exec(url.pathname)?.[1] ?? '');
    if (method === 'GET' && room?.members.has(account.id) === true) return Response.json(this.describe(room, account));
    return Response.json({ code: 'not_found', detail: 'no such room' }, { status: 404 });
  }

  #member(room: ServerRoom, user: Account, change: 'joined' | 'left'): void {
    const event: Event = {
      ...this.#base(room, user, `member-${room.gen}-${room.log.length + 1}`), kind: 'member', user, change,
    };
    if (change === 'joined') event.role = 'member';
    room.log.push(event);
    this.publish(room, event);
  }

  #event(room: ServerRoom, sender: Account, key: string, change: Change): Event {
    const base = this.#base(room, sender, key);
    switch (change.type) {
      case 'send':
        return { ...base, kind: 'message', body: change.body };
      case 'edit':
        return { ...base, kind: 'edit', target: change.target, body: change.body };
      case 'delete':
        return { ...base, kind: 'delete', target: change.target };
      case 'react':
      case 'unreact':
        return { ...base, kind: 'reaction', target: change.target, emoji: change.emoji, on: change.type === 'react' };
      case 'pin':
        return { ...base, kind: 'pin', target: change.target, on: change.on };
    }
  }

  #base(room: ServerRoom, sender: Account, key: string) {
    const sent_at = new Date(this.clock.now()).toISOString();
    return { seq: room.log.length + 1, sender: { id: sender.id, username: sender.username }, sent_at, key, ...NOVEL };
  }
}
