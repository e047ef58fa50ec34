// The server's end of one socket, and the client's view of it: frames go through in order, each after
// a while, and the way can break before or after any of them.
import type { Socket } from '../env.ts';
import type { Account, Change, ClientFrame, Event } from '../wire.ts';
import type { FakeWindow } from './browser.ts';
import { type FakeServer, NOVEL, REPLAY_MAX, type ServerRoom } from './server.ts';

interface Following {
  /** The first event that was not said, if the feed was cut. */
  cut: number | null;
}

export class FakeSocket implements Socket {
  onopen: (() => void) | null = null;
  onmessage: ((message: { data: unknown }) => void) | null = null;
  onclose: ((end: { code: number; reason: string }) => void) | null = null;
  readonly account: Account;
  readonly window: FakeWindow;
  readonly follows = new Map<string, Following>();
  readonly #server: FakeServer;
  /** The server's end lives. */
  #open = false;
  /** The client's end lives. */
  #heard = true;
  #saidUntil = 0;
  #takenUntil = 0;
  /** A refused send, by room: those behind it are refused until it comes again, or for two seconds. */
  readonly #stalls = new Map<string, { key: string; until: number }>();

  constructor(server: FakeServer, window: FakeWindow) {
    this.#server = server;
    this.window = window;
    this.account = server.accountOf(window);
    const { clock } = server;
    clock.after(1 + server.pick(30), () => {
      if (!this.#heard) return;
      if (server.down || server.chance(2)) return this.#end(1006, '');
      this.#open = true;
      this.onopen?.();
    });
  }

  /** The client sends. */
  send(text: string): void {
    if (!this.#open || !this.#heard) return;
    const server = this.#server;
    if (server.chance(0.3)) return this.#break();
    const frame = JSON.parse(text) as ClientFrame & { id?: number };
    this.#claim(frame);
    this.#takenUntil = Math.max(this.#takenUntil, server.clock.now() + server.pick(server.faults > 0 ? 150 : 5));
    server.clock.after(this.#takenUntil - server.clock.now(), () => {
      if (!this.#open) return;
      // What is lost is lost with everything behind it.
      if (server.down) return this.#break();
      this.#take(frame);
      if (server.chance(0.3)) this.#break();
    });
  }

  /** The client closes. */
  close(): void {
    this.#heard = false;
    this.#unclaim();
    // The server learns of it later, and works on what it has until then.
    this.#server.clock.after(this.#server.pick(200), () => this.#gone());
  }

  /** The window is gone. */
  kill(): void {
    this.close();
  }

  /** The server ends it, in order. */
  bye(code: number, word: string, retryAfterMs?: number): void {
    this.say({ type: 'bye', code: word, detail: word, retry_after_ms: retryAfterMs });
    this.#later(() => this.#end(code, word));
  }

  say(frame: object): void {
    const server = this.#server;
    if (server.chance(0.5)) this.#send({ type: 'weather', room: 'room-a', gen: 9, seq: 1, of: frame });
    this.#send({ ...NOVEL, ...frame });
  }

  #send(frame: object): void {
    const text = JSON.stringify(frame);
    const server = this.#server;
    this.#later(() => {
      if (server.down || server.chance(0.3)) return this.#break();
      if (server.chance(0.05)) return this.#end(4003, 'slow consumer');
      this.onmessage?.({ data: text });
      if (server.chance(0.5) && text.includes('"type":"event"')) this.onmessage?.({ data: text });
    });
  }

  publish(room: ServerRoom, event: Event): void {
    const following = this.follows.get(room.id);
    if (!this.#open || following === undefined) return;
    if (following.cut !== null) {
      if (this.#server.random() < 0.5 && this.#server.faults > 0) return;
      this.say({ type: 'gap', room: room.id, from: following.cut, to: event.seq - 1 });
      following.cut = null;
    }
    if (this.#server.chance(2)) {
      following.cut = event.seq;
      // The hub marks the cut by itself in the end, also in a room that falls silent.
      this.#server.clock.after(500, () => this.#mend(room, following));
      return;
    }
    this.say({ type: 'event', room: room.id, gen: room.gen, ...event });
  }

  #mend(room: ServerRoom, following: Following): void {
    if (this.follows.get(room.id) !== following || following.cut === null || following.cut > room.log.length) return;
    this.say({ type: 'gap', room: room.id, from: following.cut, to: room.log.length });
    following.cut = null;
  }

  #take(frame: ClientFrame & { id?: number }): void {
    const server = this.#server;
    const { id } = frame;
    const ok = (fields: object = {}): void => {
      if (id !== undefined) this.say({ type: 'ok', id, ...fields });
    };
    const refuse = (code: string, detail = code, retry_after_ms?: number): void =>
      this.say({ type: 'error', id, code, detail, retry_after_ms });
    switch (frame.type) {
      case 'hello':
        return this.#hello(frame.session, id);
      case 'subscribe':
        return this.#subscribe(frame.rooms, ok);
      case 'unsubscribe':
        for (const room of frame.rooms) this.follows.delete(room);
        return ok();
      case 'history': {
        const room = server.rooms.get(frame.room);
        const refused = server.refuses('history', frame.room);
        if (refused !== null) return refuse(refused.code, refused.detail, refused.retry_after_ms);
        if (room?.members.has(this.account.id) !== true) return refuse('not_found');
        if (server.chance(2)) return refuse(server.random() < 0.5 ? 'busy' : 'novel', 'busy', 100);
        const page = server.page(room, frame);
        // Read now, answered later than what comes next.
        server.clock.after(server.pick(server.faults > 0 ? 300 : 5), () => ok(page));
        return;
      }
      case 'read': {
        const room = server.rooms.get(frame.room);
        if (room?.members.has(this.account.id) !== true) return refuse('not_found');
        if (server.chance()) return refuse('unavailable');
        if (server.chance()) return refuse('novel', 'novel', 100);
        server.read(room, this.account.id, frame.seq);
        return ok();
      }
      case 'typing':
      case 'presence':
      case 'ping':
        return ok();
      default:
        return this.#post(frame, id, ok, refuse);
    }
  }

  #hello(session: string | undefined, id: number | undefined): void {
    if (session !== undefined && typeof session !== 'string') throw new Error('a bad session');
    const rev = this.#server.revs.get(this.account.id);
    this.say({ type: 'welcome', id, session: `session-${this.#server.random()}`, user: this.account, heartbeat_ms: 30_000, rev });
  }

  #subscribe(rooms: Record<string, { gen?: number; seq?: number }>, ok: (fields: object) => void): void {
    const server = this.#server;
    const answers: Record<string, object> = {};
    const replays: (() => void)[] = [];
    if (Object.keys(rooms).length > 200) server.violations.push('more than 200 rooms in a subscribe');
    for (const [id, cursor] of Object.entries(rooms)) {
      const room = server.rooms.get(id);
      if (room?.members.has(this.account.id) !== true) {
        answers[id] = { error: 'not_found' };
        continue;
      }
      const refused = server.refuses('subscribe', id);
      if (refused !== null) {
        answers[id] = { error: refused.code, detail: refused.detail, retry_after_ms: refused.retry_after_ms };
        continue;
      }
      if (server.chance(2)) {
        answers[id] = { error: server.random() < 0.5 ? 'unavailable' : 'novel', retry_after_ms: 100, ...NOVEL };
        continue;
      }
      answers[id] = { ...NOVEL, gen: room.gen, first: 1, head: room.log.length };
      this.follows.set(id, { cut: null });
      replays.push(() => this.#replay(room, cursor));
    }
    ok({ rooms: answers });
    for (const replay of replays) replay();
  }

  #replay(room: ServerRoom, cursor: { gen?: number; seq?: number }): void {
    const { seq } = cursor;
    const head = room.log.length;
    if (seq === undefined) return;
    if (cursor.gen !== room.gen) {
      if (head > 0) this.say({ type: 'gap', room: room.id, from: 1, to: head });
      return;
    }
    if (head - seq > REPLAY_MAX) return this.say({ type: 'gap', room: room.id, from: seq + 1, to: head });
    for (const event of room.log.slice(seq)) this.say({ type: 'event', room: room.id, gen: room.gen, ...event });
  }

  #post(
    frame: Change & { room: string; key: string },
    id: number | undefined,
    ok: (fields: object) => void,
    refuse: (code: string, detail?: string, ms?: number) => void,
  ): void {
    const server = this.#server;
    const { room: name, key, ...rest } = frame;
    const { id: _id, ...change } = rest as Change & { id?: number };
    const room = server.rooms.get(name);
    if (id === undefined) throw new Error('a change without an id');
    if (room?.members.has(this.account.id) !== true) return refuse('not_found');
    const refused = server.refuses(change.type, name);
    if (refused !== null) return refuse(refused.code, refused.detail, refused.retry_after_ms);
    const stall = this.#stalls.get(name);
    const { clock } = server;
    if (stall !== undefined && stall.key !== key && stall.until > clock.now()) return refuse('busy', 'behind a refused one', 200);
    if (server.chance(2)) {
      this.#stalls.set(name, { key, until: clock.now() + 2_000 });
      return refuse(server.random() < 0.5 ? 'busy' : server.random() < 0.5 ? 'rate_limited' : 'novel', 'too much', 50 + server.pick(1_500));
    }
    this.#stalls.delete(name);
    if ('body' in change && change.body.startsWith('bad')) return refuse('bad_request', 'a bad body');
    const target = 'target' in change ? room.log[change.target - 1] : undefined;
    if ('target' in change) {
      const gone = room.log.some((one) => one.kind === 'delete' && one.target === change.target);
      if (target?.kind !== 'message' || (gone && !room.keys.has(`${this.account.id}/${key}`))) return refuse('not_found');
      if (change.type === 'edit' && target.sender.id !== this.account.id) return refuse('forbidden');
    }
    const { event, repeated } = server.commit(room, this.account, key, change as Change);
    // The answer can overtake the event, and the event the answer.
    const answer = (): void => ok({ seq: event.seq, sent_at: event.sent_at, repeated });
    if (server.random() < 0.5) answer();
    else server.clock.after(server.pick(50), answer);
  }

  #claim(frame: ClientFrame): void {
    if (!('key' in frame)) return;
    this.#server.received.add(frame.key);
    const other = this.#server.onTheWire.get(frame.key);
    if (other !== undefined && other !== this && other.window !== this.window) {
      this.#server.violations.push(`${frame.key} is on the wire from two windows`);
    }
    this.#server.onTheWire.set(frame.key, this);
  }

  #unclaim(): void {
    for (const [key, socket] of this.#server.onTheWire) if (socket === this) this.#server.onTheWire.delete(key);
  }

  /** In order, each after a while. */
  #later(work: () => void): void {
    const { clock } = this.#server;
    this.#saidUntil = Math.max(this.#saidUntil, clock.now() + this.#server.pick(this.#server.faults > 0 ? 60 : 3));
    clock.after(this.#saidUntil - clock.now(), () => {
      if (this.#heard) work();
    });
  }

  /** The way breaks: either end learns of it at a time of its own. */
  #break(): void {
    this.#server.clock.after(this.#server.pick(2_000), () => this.#gone());
    // Sometimes nobody tells the client: it has to find out by its pulse.
    if (this.#server.random() < 0.3) {
      this.#gone();
      return;
    }
    this.#end(1006, '');
  }

  #end(code: number, reason: string): void {
    this.#gone();
    if (!this.#heard) return;
    this.#heard = false;
    this.#unclaim();
    this.onclose?.({ code, reason });
  }

  #gone(): void {
    this.#open = false;
    this.#server.sockets.delete(this);
    this.follows.clear();
  }
}
