// Who the client is. In the browser the server keeps that in cookies that no script can read; tests
// and other hosts use tokens. Renewing is done by one window at a time: a refresh token works once,
// and showing it a second time ends the sign-in, but for some minutes while its successor was not shown. What
// else changes the cookies is done under the same lock, so that the answer that came last is the one that counts.
// Where the browser has no locks, windows also agree by a word in the memory that they share; when its database
// fails, that is all there is. Then no window waits for a lock that nobody can get, and nobody is signed out by it:
// two that renew at once all the same show a token that may be shown again.
import { agreed } from './agreed.ts';
import type { Env } from './env.ts';
import { exchange, renewing } from './http.ts';
import { RENEW_LOCK_WAIT } from './limits.ts';
import { type Lock, NoLock } from './locks.ts';
import { Refusal } from './refusal.ts';
import type { Account } from './wire.ts';

export type Renewal = 'renewed' | 'over' | 'unreachable';

export interface Credential {
  /** Headers of every call. */
  headers(): Record<string, string>;
  /** The token of the socket's hello, if the upgrade does not carry the credential by itself. */
  token(): string | undefined;
  /** Renews it unless that was done since `since`, by whichever window. */
  refresh(since: number): Promise<Renewal>;
  signIn(username: string, password: string): Promise<Account>;
  signOut(): Promise<void>;
  /** Another password. It ends every sign-in but this one, which goes on with what the answer brings. */
  changePassword(old: string, next: string, onOver: () => void): Promise<Account>;
}

const RENEWED_AT = 'parlance.renewed-at';
const LOCK = 'parlance/renew';
const WORD = 'parlance.renewing';

/** The cookies of the browser. */
export class CookieCredential implements Credential {
  readonly #env: Env;
  #renewing: Promise<Renewal> | null = null;

  constructor(env: Env) {
    this.#env = env;
  }

  headers(): Record<string, string> {
    // Other sites cannot send this header, so that their forms and scripts can do nothing in our name.
    return { 'x-parlance-client': 'web' };
  }

  token(): undefined {
    return undefined;
  }

  refresh(since: number): Promise<Renewal> {
    const renewal = (): Promise<Renewal> => this.#alone((lock) => this.#renew(since, lock)).catch((): Renewal => 'unreachable');
    this.#renewing ??= renewal().finally(() => (this.#renewing = null));
    return this.#renewing;
  }

  /** Alone: a renewal of the former sign-in, if it came after this, would put its cookies over the new ones. */
  signIn(username: string, password: string): Promise<Account> {
    return this.#alone(async (lock) => {
      const body = { username, password, cookie: true };
      const account = await this.#exchange<Account>(lock, 'POST', '/api/auth/login', body);
      this.#renewed();
      return account;
    });
  }

  /** Alone: a renewal that came after this would sign in again. */
  signOut(): Promise<void> {
    return this.#alone((lock) => this.#exchange<void>(lock, 'POST', '/api/auth/logout'));
  }

  /** Alone: the refresh token that a renewal beside it would show is void from the change on. */
  changePassword(old: string, next: string, onOver: () => void): Promise<Account> {
    return this.#alone(async (lock) => {
      const begun = this.#env.clock.now();
      const body = { old_password: old, new_password: next };
      const change = (): Promise<Account> => this.#exchange<Account>(lock, 'PUT', '/api/auth/password', body);
      const account = await renewing(change, () => this.#renew(begun, lock), onOver);
      this.#renewed();
      return account;
    });
  }

  /** One window at a time; null: without a lock. Throws a `Refusal` when the one whose turn it is does not come to an end. */
  async #alone<T>(work: (lock: Lock | null) => Promise<T>): Promise<T> {
    const { clock, locks } = this.#env;
    const abort = new AbortController();
    const cancel = clock.after(RENEW_LOCK_WAIT, () => abort.abort());
    let begun = false;
    const turn = (lock: Lock | null): Promise<T> => {
      begun = true;
      cancel();
      return work(lock);
    };
    const agreedTurn = (lock: Lock | null): Promise<T> => agreed(this.#env, WORD, () => turn(lock), abort.signal);
    try {
      return await locks
        .run(LOCK, (lock) => (locks.areCertain ? turn(lock) : agreedTurn(lock)), abort.signal)
        .catch((error: unknown) => {
          if (error instanceof NoLock) return agreedTurn(null);
          throw error;
        });
    } catch (error) {
      if (begun) throw error;
      cancel();
      throw Refusal.offline('Another window of this browser does not come to an end with the sign-in.');
    }
  }

  async #renew(since: number, lock: Lock | null): Promise<Renewal> {
    const before = Number(this.#env.memory.get(RENEWED_AT) ?? 0);
    // Another window was here first. A time in the future is of a clock that was set back.
    if (before > since && before <= this.#env.clock.now()) return 'renewed';
    try {
      await this.#exchange<unknown>(lock, 'POST', '/api/auth/refresh');
    } catch (error) {
      return error instanceof Refusal && error.code === 'unauthenticated' ? 'over' : 'unreachable';
    }
    this.#renewed();
    return 'renewed';
  }

  /** Not under a lock that was lost, nor for longer than it is held. */
  async #exchange<T>(lock: Lock | null, method: string, path: string, body?: unknown): Promise<T> {
    if (lock?.isHeld === false) throw Refusal.offline();
    return await exchange<T>(this.#env, method, path, body, this.headers(), lock?.lost);
  }

  #renewed(): void {
    this.#env.memory.set(RENEWED_AT, String(this.#env.clock.now()));
  }
}

interface Tokens {
  access_token: string;
  refresh_token: string;
}

/** Tokens in memory: for hosts without cookies. */
export class TokenCredential implements Credential {
  readonly #env: Env;
  #tokens: Tokens | null = null;
  #renewedAt = 0;
  #renewing: Promise<Renewal> | null = null;

  constructor(env: Env) {
    this.#env = env;
  }

  headers(): Record<string, string> {
    return this.#tokens === null ? {} : { authorization: `Bearer ${this.#tokens.access_token}` };
  }

  token(): string | undefined {
    return this.#tokens?.access_token;
  }

  refresh(since: number): Promise<Renewal> {
    this.#renewing ??= this.#renew(since).finally(() => (this.#renewing = null));
    return this.#renewing;
  }

  async signIn(username: string, password: string): Promise<Account> {
    await this.#renewing;
    this.#tokens = await exchange<Tokens>(this.#env, 'POST', '/api/auth/login', { username, password }, {});
    return await exchange<Account>(this.#env, 'GET', '/api/me', undefined, this.headers());
  }

  async signOut(): Promise<void> {
    await this.#renewing;
    const tokens = this.#tokens;
    this.#tokens = null;
    if (tokens === null) return;
    await exchange<void>(this.#env, 'POST', '/api/auth/logout', { refresh_token: tokens.refresh_token }, {});
  }

  async changePassword(old: string, next: string, onOver: () => void): Promise<Account> {
    await this.#renewing;
    const begun = this.#env.clock.now();
    const body = { old_password: old, new_password: next };
    const change = (): Promise<Tokens> => exchange<Tokens>(this.#env, 'PUT', '/api/auth/password', body, this.headers());
    // A renewal waits for this one, as it does for another.
    const changed = renewing(change, () => this.#renew(begun), onOver).then((tokens) => {
      this.#tokens = tokens;
      this.#renewedAt = this.#env.clock.now();
    });
    this.#renewing = changed.then((): Renewal => 'renewed', (): Renewal => 'unreachable').finally(() => (this.#renewing = null));
    await changed;
    return await exchange<Account>(this.#env, 'GET', '/api/me', undefined, this.headers());
  }

  async #renew(since: number): Promise<Renewal> {
    if (this.#tokens === null) return 'over';
    if (this.#renewedAt > since) return 'renewed';
    try {
      const body = { refresh_token: this.#tokens.refresh_token };
      this.#tokens = await exchange<Tokens>(this.#env, 'POST', '/api/auth/refresh', body, {});
    } catch (error) {
      return error instanceof Refusal && error.code === 'unauthenticated' ? 'over' : 'unreachable';
    }
    this.#renewedAt = this.#env.clock.now();
    return 'renewed';
  }
}
