// What the engine needs from the world around it: clock, chance, sockets, HTTP, storage, other
// windows. The browser's own are made here; tests bring theirs.
import { Leases, WebLocks, type Locks } from './locks.ts';
import { SUBPROTOCOL } from './wire.ts';

export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Calls once, later; gives what cancels it. */
  after(ms: number, call: () => void): () => void;
}

/** The part of a WebSocket that is used. */
export interface Socket {
  send(text: string): void;
  close(code?: number): void;
  onopen: (() => void) | null;
  onmessage: ((message: { data: unknown }) => void) | null;
  onclose: ((end: { code: number; reason: string }) => void) | null;
}

/** The part of a BroadcastChannel that is used. */
export interface Channel {
  postMessage(message: unknown): void;
  onmessage: ((message: { data: unknown }) => void) | null;
  close(): void;
}

/** The part of localStorage that is used. */
export interface Memory {
  get(name: string): string | null;
  set(name: string, value: string | null): void;
  names(): string[];
}

export interface Env {
  clock: Clock;
  /** From 0 to below 1. */
  random(): number;
  /** Of version 4: the server refuses keys of version 8. */
  uuid(): string;
  fetch(path: string, init: RequestInit): Promise<Response>;
  openSocket(): Socket;
  openChannel(name: string): Channel;
  locks: Locks;
  indexedDb: IDBFactory | null;
  memory: Memory;
}

export function browserEnv(): Env {
  const clock: Clock = {
    now: () => Date.now(),
    after(ms, call) {
      const timer = setTimeout(call, ms);
      return () => clearTimeout(timer);
    },
  };
  const indexedDb = typeof indexedDB === 'undefined' ? null : indexedDB;
  // Pages from plain http addresses other than localhost have no locks.
  const web = (navigator as { locks?: LockManager }).locks;
  const locks = web === undefined ? new Leases(indexedDb, clock, uuid4) : new WebLocks(web);
  return {
    clock,
    random: Math.random,
    uuid: uuid4,
    fetch: (path, init) => fetch(path, init),
    openSocket() {
      const url = new URL('/ws', location.href);
      url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
      return new WebSocket(url, SUBPROTOCOL) as Socket;
    },
    openChannel: (name) => new BroadcastChannel(name) as Channel,
    locks,
    indexedDb,
    memory: browserMemory(),
  };
}

/** A random UUID; `crypto.randomUUID` is not there on plain http addresses. */
export function uuid4(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/** localStorage, or nothing where the browser forbids it. */
function browserMemory(): Memory {
  return {
    get(name) {
      try {
        return localStorage.getItem(name);
      } catch {
        return null;
      }
    },
    set(name, value) {
      try {
        if (value === null) localStorage.removeItem(name);
        else localStorage.setItem(name, value);
      } catch {
        // Full or forbidden: it is then kept for this page only, by who asked.
      }
    },
    names() {
      try {
        return Object.keys(localStorage);
      } catch {
        return [];
      }
    },
  };
}
