// The server by its HTTP interface, for what happens away from the browser.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

export const PASSWORD = 'Correct-Horse-1';

export class Api {
  #url;
  #token = null;

  constructor(url) {
    this.#url = url;
  }

  /** One call; a refusal for now is repeated. */
  async call(method, path, body) {
    for (let left = 200; ; left -= 1) {
      const headers = {};
      if (this.#token !== null) headers.authorization = `Bearer ${this.#token}`;
      if (body !== undefined) headers['content-type'] = 'application/json';
      let answer;
      let read;
      try {
        answer = await fetch(this.#url + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
        read = await answer.text();
      } catch (error) {
        // A node that just died: every call here may be repeated, as sends carry a key.
        if (left === 0) throw error;
        await sleep(100);
        continue;
      }
      if (answer.ok) return read === '' ? null : JSON.parse(read);
      if (![429, 502, 503, 504].includes(answer.status) || left === 0) {
        const error = new Error(`${method} ${path}: ${answer.status} ${read}`);
        error.status = answer.status;
        throw error;
      }
      let pause = 100;
      try {
        pause = Math.max(20, JSON.parse(read).retry_after_ms ?? pause);
      } catch {
        // The balancer's own page.
      }
      await sleep(Math.min(pause, 2_000));
    }
  }

  async signIn(username, password = PASSWORD) {
    const answer = await this.call('POST', '/api/auth/login', { username, password });
    this.#token = answer.access_token;
    return this;
  }

  async register(username) {
    await this.call('POST', '/api/auth/register', { username, password: PASSWORD });
    return this.signIn(username);
  }

  me() {
    return this.call('GET', '/api/me');
  }

  createRoom(name, kind = 'public') {
    return this.call('POST', '/api/rooms', { name, kind, key: randomUUID() });
  }

  send(room, body) {
    return this.call('POST', `/api/rooms/${room}/messages`, { body, key: randomUUID() });
  }

  /** Every message of a room, oldest first: `{seq, body, sender}`. */
  async history(room) {
    const all = [];
    let after = 0;
    for (;;) {
      const page = await this.call('GET', `/api/rooms/${room}/messages?limit=200&after=${after}`);
      for (const entry of page.messages) {
        after = entry.seq;
        if (entry.kind === undefined || entry.kind === 'message') all.push({ seq: entry.seq, body: entry.body, sender: entry.sender?.username });
      }
      if (!page.more || page.messages.length === 0) return all;
    }
  }

  cluster() {
    return this.call('GET', '/api/cluster');
  }
}
