// Calls over HTTP: the credential, one refresh when it has run out, refusals with the time that the
// server names. It repeats nothing else by itself.
import type { Credential, Renewal } from './credential.ts';
import type { Env } from './env.ts';
import { HTTP_WAIT } from './limits.ts';
import { Refusal } from './refusal.ts';
import type { Account } from './wire.ts';

export class Http {
  readonly #env: Env;
  readonly credential: Credential;
  /** The sign-in has run out and could not be renewed. */
  onOver: () => void = () => {};

  constructor(env: Env, credential: Credential) {
    this.#env = env;
    this.credential = credential;
  }

  /** One call, with the caller's credential. Throws a `Refusal`. */
  async call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const begun = this.#env.clock.now();
    const exchanged = (): Promise<T> => exchange<T>(this.#env, method, path, body, this.credential.headers());
    return await renewing(exchanged, () => this.credential.refresh(begun), this.onOver);
  }

  /** Another password: every other sign-in ends. */
  async changePassword(old: string, next: string): Promise<Account> {
    return await this.credential.changePassword(old, next, this.onOver);
  }
}

/** A call that is made again when the sign-in, which had run out, could be renewed. */
export async function renewing<T>(call: () => Promise<T>, renew: () => Promise<Renewal>, onOver: () => void): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof Refusal) || error.code !== 'unauthenticated') throw error;
    const renewal = await renew();
    if (renewal === 'unreachable') throw Refusal.offline();
    if (renewal === 'over') {
      onOver();
      throw error;
    }
    return await call();
  }
}

/** One exchange, with no second try. `stop`: it is given up. Throws a `Refusal`. */
export async function exchange<T>(
  env: Env,
  method: string,
  path: string,
  body: unknown,
  headers: Record<string, string>,
  stop?: AbortSignal,
): Promise<T> {
  if (stop?.aborted === true) throw Refusal.offline();
  const abort = new AbortController();
  const end = (): void => abort.abort();
  const cancel = env.clock.after(HTTP_WAIT, end);
  stop?.addEventListener('abort', end);
  const init: RequestInit = { method, headers: { ...headers }, credentials: 'same-origin', cache: 'no-store', signal: abort.signal };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { ...headers, 'content-type': 'application/json' };
  }
  let response: Response;
  let text: string;
  try {
    response = await env.fetch(path, init);
    text = await response.text();
  } catch {
    throw Refusal.offline();
  } finally {
    cancel();
    stop?.removeEventListener('abort', end);
  }
  const value = parsed(text);
  if (response.ok) return value as T;
  throw refusal(response, value, env.clock.now());
}

function parsed(text: string): unknown {
  try {
    return text === '' ? undefined : (JSON.parse(text) as unknown);
  } catch {
    return undefined;
  }
}

function refusal(response: Response, value: unknown, now: number): Refusal {
  const body = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const ms = body['retry_after_ms'];
  const retryAfter = typeof ms === 'number' ? ms : retryAfterOf(response.headers.get('retry-after'), now);
  const code = typeof body['code'] === 'string' ? body['code'] : codeOf(response.status);
  const detail = typeof body['detail'] === 'string' ? body['detail'] : `The server answered ${response.status}.`;
  return new Refusal(code, detail, retryAfter, response.status);
}

/** For answers of something between here and the server, which does not speak its language. */
function codeOf(status: number): string {
  if (status === 401) return 'unauthenticated';
  if (status === 429) return 'rate_limited';
  return status >= 500 ? 'unavailable' : 'bad_request';
}

/** `Retry-After`: seconds, or a date. */
export function retryAfterOf(header: string | null, now: number): number | null {
  if (header === null || header.trim() === '') return null;
  const seconds = Number(header);
  if (Number.isFinite(seconds)) return Math.max(0, seconds * 1_000);
  const date = Date.parse(header);
  return Number.isNaN(date) ? null : Math.max(0, date - now);
}
