// Whether the server is reached, for the page's bar.
import type { Host } from './host.svelte.ts';
import type { Session } from './session.svelte.ts';
import type { ConnectionStore } from './types.ts';

export class ConnectionState implements ConnectionStore {
  readonly #host: Host;
  readonly #session: Session;

  constructor(host: Host, session: Session) {
    this.#host = host;
    this.#session = session;
  }

  get state(): ConnectionStore['state'] {
    const state = this.#state;
    switch (state) {
      case undefined:
        return this.#session.wait === null ? 'connecting' : 'waiting';
      case 'online':
      case 'waiting':
        return state;
      case 'replaced':
      case 'over':
        return 'offline';
      default:
        return 'connecting';
    }
  }

  get why(): string | null {
    return this.#connection?.why ?? this.#session.wait?.why ?? null;
  }

  get retryAt(): number | null {
    return this.#connection?.retryAt ?? this.#session.wait?.until ?? null;
  }

  get replaced(): boolean {
    return this.#state === 'replaced';
  }

  get unsent(): number {
    this.#host.topics.version('connection');
    return this.#host.engine?.outbox.unsent ?? 0;
  }

  retryNow(): void {
    this.#session.retryNow();
    this.#host.engine?.connection.retryNow();
  }

  get #connection() {
    this.#host.topics.version('connection');
    return this.#host.engine?.connection;
  }

  get #state() {
    return this.#connection?.state;
  }
}
