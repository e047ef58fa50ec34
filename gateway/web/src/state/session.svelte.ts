// Who is signed in on this page, and in the other windows of this browser.
import { asked, BackOff } from '../sync/back-off.ts';
import type { Channel } from '../sync/env.ts';
import { exchange } from '../sync/http.ts';
import { asRefusal } from '../sync/refusal.ts';
import type { Account as WireAccount, Profile } from '../sync/wire.ts';
import type { Host } from './host.svelte.ts';
import type { Account, SessionStore } from './types.ts';

type Word = 'in' | 'out';

export class Session implements SessionStore {
  phase: SessionStore['phase'] = $state('unknown');
  user: Account | null = $state.raw(null);
  expired = $state(false);
  /** Why it is not known yet who is signed in, and when that is asked again. */
  wait: { why: string; until: number } | null = $state.raw(null);
  readonly #host: Host;
  readonly #backOff: BackOff;
  #channel: Channel | null = null;
  #cancelTimer = (): void => {};
  /** The server asked not to be asked before this. */
  #notBefore = 0;
  /** Grows with each word about who is signed in, so that an older one that comes late is not heard. */
  #turn = 0;

  constructor(host: Host) {
    this.#host = host;
    this.#backOff = new BackOff(host.env.random);
    host.http.onOver = () => this.#over();
    host.onStranger = () => void this.#find();
  }

  /** Finds out who is signed in. */
  start(): void {
    this.#channel = this.#host.env.openChannel('parlance/session');
    this.#channel.onmessage = ({ data }) => {
      if (data === 'out') void this.#out(false);
      // It may be another account, also while one is signed in here.
      if (data === 'in') void this.#find();
    };
    void this.#find();
  }

  async signIn(name: string, password: string): Promise<void> {
    const account = await this.#host.http.credential.signIn(name, password);
    await this.#in(account);
    this.#channel?.postMessage('in' satisfies Word);
  }

  async register(name: string, password: string): Promise<void> {
    const { env, http } = this.#host;
    await exchange<unknown>(env, 'POST', '/api/auth/register', { username: name, password }, http.credential.headers());
    await this.signIn(name, password);
  }

  async signOut(): Promise<void> {
    await this.#host.http.credential.signOut().catch((error: unknown) => {
      // Being signed out already is what was wanted.
      if (asRefusal(error).code !== 'unauthenticated') throw error;
    });
    this.#channel?.postMessage('out' satisfies Word);
    await this.#out(true);
  }

  async changePassword(oldPassword: string, newPassword: string): Promise<void> {
    const account = await this.#host.http.changePassword(oldPassword, newPassword);
    await this.#in(account);
    this.#channel?.postMessage('in' satisfies Word);
  }

  /** The page woke: what waits is asked as soon as the server allows. */
  wake(): void {
    if (this.wait === null) return;
    if (this.#notBefore <= this.#host.env.clock.now()) return this.retryNow();
    this.#plan(this.wait.why, this.#notBefore);
  }

  /** A person says so: what waits is asked at once. */
  retryNow(): void {
    if (this.wait !== null) void this.#find();
  }

  async #find(): Promise<void> {
    this.#cancelTimer();
    this.wait = null;
    const turn = ++this.#turn;
    try {
      const account = await this.#host.http.call<WireAccount & Profile>('GET', '/api/me');
      if (turn !== this.#turn) return;
      this.#backOff.reset();
      await this.#in(account);
      const { engine } = this.#host;
      if (engine?.account.id === account.id) engine.people.introduce(account);
    } catch (error) {
      if (turn !== this.#turn) return;
      const refusal = asRefusal(error);
      if (refusal.code === 'unauthenticated') {
        if (this.phase !== 'unknown') return;
        this.phase = 'signed-out';
        return await this.#host.forgetNames();
      }
      const now = this.#host.env.clock.now();
      this.#notBefore = now + asked(refusal.retryAfterMs);
      this.#plan(refusal.message, now + this.#backOff.next(refusal.retryAfterMs ?? 0));
    }
  }

  #plan(why: string, until: number): void {
    const { clock } = this.#host.env;
    this.#cancelTimer();
    this.wait = { why, until };
    this.#cancelTimer = clock.after(until - clock.now(), () => void this.#find());
  }

  async #in(account: WireAccount): Promise<void> {
    const turn = ++this.#turn;
    const before = this.#host.engine;
    if (before?.account.id === account.id) {
      this.#enter(account);
      before.connection.start();
      before.list.refresh();
      return;
    }
    if (before !== null) {
      // No page of the former user is drawn while there is no engine.
      this.phase = 'unknown';
      this.user = null;
      this.expired = false;
      await this.#host.end(false);
      if (turn !== this.#turn) return;
    }
    this.onBegin(account.id);
    this.#host.begin(account);
    this.#enter(account);
  }

  #enter(account: WireAccount): void {
    this.#cancelTimer();
    this.wait = null;
    this.user = { id: account.id, username: account.username, admin: account.admin ?? false };
    this.expired = false;
    this.phase = 'signed-in';
  }

  async #out(forget: boolean): Promise<void> {
    this.#turn += 1;
    if (this.phase === 'signed-out') return;
    const { user } = this;
    this.phase = 'signed-out';
    this.expired = false;
    this.user = null;
    const ended = this.#host.end(forget);
    // Each window by itself: it may have written names after the one that signed out had them forgotten.
    void this.#host.forgetNames();
    await ended;
    if (forget && user !== null) this.onForget(user.id);
  }

  /** The other stores are to read what they keep of a user on this machine. */
  onBegin: (user: string) => void = () => {};

  /** What the other stores keep of a user on this machine is to be forgotten. */
  onForget: (user: string) => void = () => {};

  #over(): void {
    // Drafts and what was read stay on the page until somebody signs in again.
    if (this.phase === 'signed-in') this.expired = true;
  }
}
