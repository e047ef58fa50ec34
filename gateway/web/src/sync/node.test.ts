// The engine against a real node, through a way that is cut again and again. Runs when `PARLANCE_BIN`
// names the server's binary (with Node 20 also `NODE_OPTIONS=--experimental-websocket`).
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, connect, type Server, type Socket as TcpSocket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IDBFactory } from 'fake-indexeddb';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { TokenCredential } from './credential.ts';
import { Engine } from './engine.ts';
import { type Channel, type Env, type Socket, uuid4 } from './env.ts';
import { Http } from './http.ts';
import { Leases } from './locks.ts';
import { plain } from './testkit/oracle.ts';
import { type Page, type Room, SUBPROTOCOL } from './wire.ts';

const binary = process.env['PARLANCE_BIN'];

/** A way to the node that can be cut. */
class Way {
  readonly #server: Server;
  readonly #sockets = new Set<TcpSocket>();
  port = 0;

  constructor(to: number) {
    this.#server = createServer((near) => {
      const far = connect(to, '127.0.0.1');
      for (const [one, other] of [[near, far], [far, near]] as const) {
        this.#sockets.add(one);
        one.on('error', () => {});
        one.on('close', () => {
          this.#sockets.delete(one);
          other.destroy();
        });
        one.pipe(other);
      }
    });
  }

  async open(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    this.port = (this.#server.address() as AddressInfo).port;
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.cut();
    this.#server.close();
  }
}

const clock = {
  now: () => Date.now(),
  after(ms: number, call: () => void) {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
};

function world(port: number): Env {
  const indexedDb = new IDBFactory();
  const kept = new Map<string, string>();
  return {
    clock,
    random: Math.random,
    uuid: uuid4,
    fetch: (path, init) => fetch(`http://127.0.0.1:${port}${path}`, init),
    openSocket: () => new WebSocket(`ws://127.0.0.1:${port}/ws`, SUBPROTOCOL) as unknown as Socket,
    openChannel: () => ({ postMessage() {}, close() {}, onmessage: null }) satisfies Channel,
    locks: new Leases(indexedDb, clock, uuid4),
    indexedDb,
    memory: { get: (name) => kept.get(name) ?? null, set: (name, value) => void kept.set(name, value ?? ''), names: () => [...kept.keys()] },
  };
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const end = Date.now() + 30_000;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`it did not come to this: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

let node: ChildProcess | null = null;
let folder = '';
let port = 0;

beforeAll(async () => {
  if (binary === undefined) return;
  folder = mkdtempSync(join(tmpdir(), 'parlance-web-'));
  // The server takes every PARLANCE_… as a setting.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('PARLANCE_')));
  node = spawn(binary, ['serve', '--data-dir', folder, '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'pipe'], env });
  let said = '';
  node.stderr?.on('data', (data: Buffer) => (said += data.toString()));
  node.on('error', (error) => (said += error.message));
  node.stdout?.on('data', (data: Buffer) => (said += data.toString()));
  await until('the node listens', () => {
    if (node?.exitCode !== null) throw new Error(`the node ended: ${said}`);
    port = Number(/listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(said)?.[1] ?? 0);
    return port > 0;
  });
}, 40_000);

afterAll(async () => {
  if (node === null || node.exitCode !== null) return;
  const ended = new Promise((resolve) => node?.on('exit', resolve));
  node.kill('SIGTERM');
  await ended;
  rmSync(folder, { recursive: true, force: true });
});

async function person(name: string): Promise<{ engine: Engine; http: Http; way: Way }> {
  const way = new Way(port);
  await way.open();
  const env = world(way.port);
  const credential = new TokenCredential(env);
  const http = new Http(env, credential);
  await http.call('POST', '/api/auth/register', { username: name, password: 'Secret-pass-1' });
  const account = await credential.signIn(name, 'Secret-pass-1');
  const engine = new Engine(env, http, account, { changed: () => {}, heard: () => {}, refused: () => {}, stranger: () => {}, named: () => {} });
  engine.start();
  await until('it is online', () => engine.connection.state === 'online' && engine.list.loaded);
  return { engine, http, way };
}

it.runIf(binary !== undefined)('two people on a real node see one log, however often the way is cut', async () => {
  const [ann, bob] = [await person('ann'), await person('bob')];
  const meta = await ann.http.call<Room>('POST', '/api/rooms', { key: uuid4(), name: 'hall', kind: 'public' });
  ann.engine.put(meta);
  await bob.http.call('POST', `/api/rooms/${meta.id}/join`);
  for (const { engine } of [ann, bob]) await engine.open(meta.id);

  const sent: { by: string; key: string }[] = [];
  for (let round = 0; round < 60; round += 1) {
    for (const one of [ann, bob]) {
      sent.push({ by: one.engine.account.id, key: one.engine.send(meta.id, `${round} @bob`, null) });
      if (round % 7 === 3) one.way.cut();
      if (round % 10 === 9) one.engine.change(meta.id, { type: 'react', target: 2 + round, emoji: '👍' }).catch(() => {});
    }
    await new Promise((resolve) => setTimeout(resolve, 15));
    if (round % 20 === 19) ann.engine.connection.retryNow();
  }
  await until('everything is answered', () => ann.engine.outbox.unsent + bob.engine.outbox.unsent === 0);

  const log = await ann.http.call<Page>('GET', `/api/rooms/${meta.id}/messages?limit=200&view=log`);
  const keys = log.messages.filter((event) => event.kind === 'message').map((event) => event.key);
  expect(keys.length).toBe(sent.length);
  for (const by of new Set(sent.map((one) => one.by))) {
    const mine = sent.filter((one) => one.by === by).map((one) => one.key);
    expect(keys.filter((key) => mine.includes(key))).toEqual(mine);
  }
  const page = await ann.http.call<Page>('GET', `/api/rooms/${meta.id}/messages?limit=200`);
  for (const { engine } of [ann, bob]) {
    const room = engine.room(meta.id);
    await until('it has heard the end', () => room?.feed.cursor?.seq === page.as_of && room.timeline?.atHead === true);
    while (room?.timeline?.hasOlder === true) await engine.history.older(room);
    expect(room?.timeline?.entries.map((shown) => plain(shown.entry))).toEqual(page.messages.map(plain));
    engine.markRead(meta.id, page.as_of);
    expect(room?.tally.unread).toBe(0);
  }
  for (const { engine, way } of [ann, bob]) {
    await engine.stop(true);
    way.close();
  }
}, 60_000);
