// One conversation with the server over as many sockets as it takes: connect, say hello, keep alive,
// and when a socket ends, decide by its close code when and whether to come again. It knows nothing
// of rooms. Requests without an answer end with the socket; who made them makes them again.
import { asked, BackOff } from './back-off.ts';
import type { Env, Socket } from './env.ts';
import type { Http } from './http.ts';
import { ANSWER_WAIT, CONNECT_WAIT, FAULT_PAUSE } from './limits.ts';
import { Pulse } from './pulse.ts';
import { asRefusal } from './refusal.ts';
import { type ClientFrame, CLOSE, type ErrorFrame, type Ok, type ServerFrame, type Welcome } from './wire.ts';

export type State = 'idle' | 'connecting' | 'online' | 'waiting' | 'replaced' | 'over';

/** The one answer of a request; null: the socket ended before it. */
export type Answered = (answer: Ok | ErrorFrame | null) => void;

export interface Listener {
  /** A session began. */
  welcome(frame: Welcome): void;
  /** The server takes this page for another account: the browser's sign-in is no longer the one of this connection. */
  stranger(): void;
  /** Everything that is not an answer. */
  frame(frame: ServerFrame): void;
  /** The socket is gone; all requests had their `null`. */
  down(): void;
  /** State, reason or time of the next try changed. */
  changed(): void;
}

interface Request {
  sentAt: number;
  /** How long it may take before its way counts as dead. */
  patience: number;
  answered: Answered;
}

export class Connection {
  readonly #env: Env;
  readonly #http: Http;
  /** Whose connection it is. */
  readonly #user: string;
  readonly #listener: Listener;
  readonly #backOff: BackOff;
  readonly #requests = new Map<number, Request>();
  #state: State = 'idle';
  #why: string | null = null;
  #retryAt: number | null = null;
  /** The server asked not to come before this. */
  #notBefore = 0;
  #socket: Socket | null = null;
  #pulse: Pulse | null = null;
  #nextId = 1;
  /** The last session of this page, which the next one ends if it still lives. */
  #session: string | undefined;
  /** A `bye` came: what it says is known before the close code. */
  #bye: { code: string; retryAfterMs: number | null } | null = null;
  /** What came before the welcome. */
  #early: ServerFrame[] = [];
  /** The credential was renewed for this try; a second refusal is not answered by that again. */
  #renewed = false;
  /** The last try ended before the socket opened; a call over HTTP tells why. */
  #probe = false;
  /** When the present try began. */
  #begunAt = 0;
  #cancelTimer = (): void => {};
  #cancelBeat = (): void => {};
  /** Grows with every try, so that what an earlier one still says is not heard. */
  #try = 0;

  constructor(env: Env, http: Http, user: string, listener: Listener) {
    this.#env = env;
    this.#http = http;
    this.#user = user;
    this.#listener = listener;
    this.#backOff = new BackOff(env.random);
  }

  get state(): State {
    return this.#state;
  }

  get why(): string | null {
    return this.#why;
  }

  get retryAt(): number | null {
    return this.#retryAt;
  }

  /** Connects, and stays connected until `stop`. Somebody signed in: what was over or replaced begins again. */
  start(): void {
    if (this.#state === 'waiting') this.wake();
    else this.retryNow();
  }

  stop(): void {
    this.#end();
    this.#session = undefined;
    this.#backOff.reset();
    this.#become('idle', null);
  }

  /** Ends a pause, whatever it is for, because a person says so. */
  retryNow(): void {
    if (this.#state === 'online' || this.#state === 'connecting') return;
    this.#renewed = false;
    void this.#begin();
  }

  /** The page woke or the network is there again: a pause ends as soon as the server allows. */
  wake(): void {
    if (this.#state === 'online') return this.check();
    if (this.#state !== 'waiting') return;
    if (this.#notBefore <= this.#env.clock.now()) return this.retryNow();
    this.#plan(this.#notBefore);
    this.#listener.changed();
  }

  /** The network changed: whether the socket still lives is found out at once. */
  check(): void {
    if (this.#state !== 'online') return;
    this.#pulse?.wake();
    this.beat();
  }

  /** Sends a frame and calls `answered` exactly once, unless it gives false: there is no socket. */
  request(frame: ClientFrame, answered: Answered, patience = 2 * ANSWER_WAIT): boolean {
    if (this.#state !== 'online') return false;
    const id = this.#nextId++;
    this.#requests.set(id, { sentAt: this.#env.clock.now(), patience, answered });
    this.#write({ id, ...frame });
    this.beat();
    return true;
  }

  /** Sends a frame to which nobody waits for an answer. */
  say(frame: ClientFrame): boolean {
    if (this.#state !== 'online') return false;
    this.#write(frame);
    return true;
  }

  /** Ends the socket, because it is of no use, and comes again. */
  drop(why: string): void {
    if (this.#socket !== null) this.#again(why, 0);
  }

  async #begin(): Promise<void> {
    this.#end();
    const present = ++this.#try;
    this.#begunAt = this.#env.clock.now();
    this.#become('connecting', this.#why);
    if (this.#probe) {
      this.#probe = false;
      const refusal = await this.#http.call('GET', '/api/me').then(() => null, asRefusal);
      if (present !== this.#try) return;
      // A sign-in that is over was told by the call itself.
      if (refusal?.code === 'unauthenticated') return this.#become('over', refusal.message);
      if (refusal !== null) {
        this.#probe = true;
        return this.#again(refusal.message, refusal.retryAfterMs ?? 0);
      }
    }
    this.#open(present);
  }

  #open(present: number): void {
    this.#cancelTimer = this.#env.clock.after(CONNECT_WAIT, () => this.#again('The server takes too long to answer.', 0));
    const socket = this.#env.openSocket();
    this.#socket = socket;
    this.#bye = null;
    this.#early = [];
    let opened = false;
    socket.onopen = () => {
      if (present !== this.#try) return;
      opened = true;
      const hello: ClientFrame = { type: 'hello' };
      const token = this.#http.credential.token();
      if (token !== undefined) hello.token = token;
      if (this.#session !== undefined) hello.session = this.#session;
      this.#write({ id: this.#nextId++, ...hello });
    };
    socket.onmessage = ({ data }) => {
      if (present === this.#try) this.#hear(data);
    };
    socket.onclose = ({ code, reason }) => {
      if (present !== this.#try) return;
      this.#socket = null;
      this.#probe = !opened;
      void this.#closed(code, reason);
    };
  }

  #hear(data: unknown): void {
    const now = this.#env.clock.now();
    this.#pulse?.heard(now);
    const frame = read(data);
    if (frame === null) return this.drop('The server said something that is not its protocol.');
    switch (frame.type) {
      case 'welcome':
        return this.#welcome(frame, now);
      case 'ok':
      case 'error':
        return this.#answer(frame);
      case 'bye':
        this.#bye = { code: frame.code, retryAfterMs: frame.retry_after_ms ?? null };
        this.#why = frame.detail;
        return;
      default:
        // The user's own feed may speak before the welcome; nothing else does.
        if (this.#state === 'online') this.#listener.frame(frame);
        else this.#early.push(frame);
    }
  }

  #welcome(frame: Welcome, now: number): void {
    if (this.#state === 'online') return;
    if (frame.user.id !== this.#user) {
      // Nothing that one account wrote goes out in the name of another.
      this.#end();
      this.#session = undefined;
      this.#become('over', 'Another account is signed in.');
      return this.#listener.stranger();
    }
    this.#cancelTimer();
    this.#session = frame.session;
    this.#renewed = false;
    this.#pulse = new Pulse(now, Math.max(1_000, frame.heartbeat_ms));
    this.#become('online', null);
    this.#listener.welcome(frame);
    for (const early of this.#early.splice(0)) this.#listener.frame(early);
    this.beat();
  }

  #answer(frame: Ok | ErrorFrame): void {
    if (frame.id === undefined) return;
    const request = this.#requests.get(frame.id);
    if (request === undefined) {
      // Of the hello, after which the close follows.
      if (this.#state !== 'online' && frame.type === 'error') {
        this.#bye = { code: frame.code, retryAfterMs: frame.retry_after_ms ?? null };
        this.#why = frame.detail;
      }
      return;
    }
    // It works; a session that only begins and ends does not.
    if (frame.type === 'ok') this.#backOff.reset();
    this.#requests.delete(frame.id);
    request.answered(frame);
  }

  async #closed(code: number, reason: string): Promise<void> {
    const bye = this.#bye;
    const why = this.#bye === null ? reason || 'The connection was lost.' : (this.#why ?? reason);
    const least = bye?.retryAfterMs ?? 0;
    if (code === CLOSE.replaced) {
      this.#end();
      return this.#become('replaced', 'Another window took the place of this one.');
    }
    if (code === CLOSE.unauthenticated || bye?.code === 'unauthenticated') return await this.#renew(why);
    if (code === CLOSE.badFrame || code === CLOSE.rateLimited) return this.#again(why, Math.max(least, FAULT_PAUSE));
    this.#again(why, least);
  }

  /** The server does not know us (any more): a new credential, once a try. */
  async #renew(why: string): Promise<void> {
    const begun = this.#begunAt;
    this.#end();
    if (this.#renewed) {
      this.#renewed = false;
      return this.#again(why, 0);
    }
    const present = ++this.#try;
    this.#become('connecting', why);
    // Whether it is over is found out in one place, whoever asks.
    const renewal = await this.#http.credential.refresh(begun);
    if (present !== this.#try) return;
    if (renewal === 'over') {
      this.#become('over', why);
      return this.#http.onOver();
    }
    if (renewal === 'unreachable') return this.#again('The server cannot be reached.', 0);
    this.#renewed = true;
    await this.#begin();
  }

  #again(why: string, least: number): void {
    this.#end();
    const now = this.#env.clock.now();
    this.#notBefore = now + asked(least);
    this.#plan(now + this.#backOff.next(least));
    this.#become('waiting', why);
  }

  #plan(at: number): void {
    this.#cancelTimer();
    this.#retryAt = at;
    this.#cancelTimer = this.#env.clock.after(at - this.#env.clock.now(), () => void this.#begin());
  }

  /** The present socket and everything about it is over. */
  #end(): void {
    this.#try += 1;
    this.#cancelTimer();
    this.#cancelBeat();
    this.#retryAt = null;
    this.#pulse = null;
    const socket = this.#socket;
    this.#socket = null;
    if (socket !== null) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(1000);
    }
    const wasOnline = this.#state === 'online';
    if (wasOnline) this.#state = 'connecting';
    const requests = [...this.#requests.values()];
    this.#requests.clear();
    for (const request of requests) request.answered(null);
    if (wasOnline) this.#listener.down();
  }

  #become(state: State, why: string | null): void {
    this.#state = state;
    this.#why = why;
    this.#listener.changed();
  }

  #write(frame: object): void {
    this.#pulse?.said(this.#env.clock.now());
    this.#socket?.send(JSON.stringify(frame));
  }

  /** Looks after the socket, and plans when to do so next. */
  beat(): void {
    this.#cancelBeat();
    if (this.#pulse === null) return;
    const now = this.#env.clock.now();
    let waitsSince: number | null = null;
    let overdueAt = Infinity;
    for (const request of this.#requests.values()) {
      waitsSince = Math.min(waitsSince ?? Infinity, request.sentAt);
      overdueAt = Math.min(overdueAt, request.sentAt + request.patience);
    }
    if (now >= overdueAt) return this.drop('An answer is overdue.');
    const beat = this.#pulse.beat(now, waitsSince);
    if (beat.what === 'dead') return this.drop('The server gives no sign of life.');
    if (beat.what === 'ask') {
      this.#write({ type: 'ping', id: this.#nextId++ });
      return this.beat();
    }
    const until = Math.min(beat.until, overdueAt);
    this.#cancelBeat = this.#env.clock.after(until - now, () => this.beat());
  }
}

function read(data: unknown): ServerFrame | null {
  if (typeof data !== 'string') return null;
  try {
    const frame = JSON.parse(data) as ServerFrame | null;
    return typeof frame === 'object' && frame !== null && typeof frame.type === 'string' ? frame : null;
  } catch {
    return null;
  }
}
