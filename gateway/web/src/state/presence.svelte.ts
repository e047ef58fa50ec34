// Who is there. One's own status is what the user chose, or away while the page was not seen for some
// minutes.
import type { Host } from './host.svelte.ts';
import type { PresenceStatus, PresenceStore } from './types.ts';

const AWAY_AFTER = 5 * 60_000;

export class Presence implements PresenceStore {
  readonly #host: Host;
  #chosen: 'online' | 'away' = $state('online');
  #idle = false;
  #cancelTimer = (): void => {};

  constructor(host: Host) {
    this.#host = host;
  }

  of(userId: string): PresenceStatus {
    this.#host.topics.version('presence');
    this.#host.topics.version('connection');
    return this.#host.engine?.presence(userId) ?? 'offline';
  }

  get mine(): 'online' | 'away' {
    return this.#chosen;
  }

  /** Another user, or another sign-in: what was chosen before is over. */
  begin(): void {
    this.#chosen = 'online';
  }

  setMine(status: 'online' | 'away'): void {
    this.#chosen = status;
    this.#say();
  }

  watch(ids: readonly string[]): void {
    this.#host.engine?.watch(ids);
  }

  /** The page came to the front, or went. */
  seen(visible: boolean): void {
    this.#cancelTimer();
    if (!visible) {
      this.#cancelTimer = this.#host.env.clock.after(AWAY_AFTER, () => {
        this.#idle = true;
        this.#say();
      });
    } else if (this.#idle) {
      this.#idle = false;
      this.#say();
    }
  }

  #say(): void {
    this.#host.engine?.setMine(this.#idle ? 'away' : this.#chosen);
  }
}
