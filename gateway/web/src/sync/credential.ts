// Who the client is. In the browser the server keeps that in cookies that no script can read; tests
// and other hosts use tokens. Renewing is done by one window at a time: a refresh token works once,
// and showing it a second time ends the sign-in. What else changes the cookies is done under the same
// lock, so that the answer that came last is the one that counts.
import type { Env } from './env.ts';
import { exchange, renewing } from './http.ts';
import { RENEW_LOCK_WAIT } from './limits.ts';
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
    const renewal = (): Promise<Renewal> => this.#alone(() => this.#renew(since)).catch((): Renewal => 'unreachable');
    this.#renewing ??= renewal().finally(() => (this.#renewing = null));
    return this.#renewing;
  }

  /** Alone: a renewal of the former sign-in, if it came after this, would put its cookies over the new ones. */
  signIn(username: string, password: string): Promise<Account> {
    return this.#alone(async () => {
      const body = { username, password, cookie: true };
      const account = await exchange<Account>(this.#env, 'POST', '/api/auth/login', body, this.headers());
      this.#renewed();
      return account;
    });
  }

  /** Alone: a renewal that came after this would sign in again. */
  signOut(): Promise<void> {
    return this.#alone(() => exchange<void>(this.#env, 'POST', '/api/auth/logout', undefined, this.headers()));
  }

  /** Alone: the refresh token that a renewal beside it would show is void from the change on. */
  changePassword(old: string, next: string, onOver: () => void): Promise<Account> {
    return this.#alone(async () => {
      const begun = this.#env.clock.now();
      const body = { old_password: old, new_password: next };
      const change = (): Promise<Account> => exchange<Account>(this.#env, 'PUT', '/api/auth/password', body, this.headers());
      const account = await renewing(change, () => this.#renew(begun), onOver);
      this.#renewed();
      return account;
    });
  }

  /** One window at a time. Throws a `Refusal` when the one whose turn it is does not come to an end. */
  async #alone<T>(work: () => Promise<T>): Promise<T> {
    const abort = new AbortController();
    const cancel = this.#env.clock.after(RENEW_LOCK_WAIT, () => abort.abort());
    let begun = false;
    const turn = (): Promise<T> => {
      begun = true;
      cancel();
      return work();
    };
    try {
      return await this.#env.locks.run(LOCK, turn, abort.signal);
    } catch (error) {
      if (begun) throw error;
      cancel();
      throw Refusal.offline('Another window of this browser does not come to an end with the sign-in.');
    }
  }

  async #renew(since: number): Promise<Renewal> {
    const before = Number(this.#env.memory.get(RENEWED_AT) ?? 0);
    // Another window was here first. A time in the future is of a clock that was set back.
    if (before > since && before <= this.#env.clock.now()) return 'renewed';
    try {
      await exchange<unknown>(this.#env, 'POST', '/api/auth/refresh', undefined, this.headers());
    } catch (error) {
      return error instanceof Refusal && error.code === 'unauthenticated' ? 'over' : 'unreachable';
    }
    this.#renewed();
    return 'renewed';
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
