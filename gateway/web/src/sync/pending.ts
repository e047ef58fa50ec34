// What is on its way, as this window knows it: its own changes and those of the user's other windows. Pure.
import type { Stored } from './outbox-store.ts';

/** A change as it is shown. */
export interface Pending {
  readonly stored: Stored;
  readonly status: 'queued' | 'sending' | 'failed' | 'sent';
  /** Where it is in the room's log; its event was not heard yet. */
  readonly seq: number | null;
  /** Why it waits or failed. */
  readonly note: string | null;
}

export class AllPending {
  readonly #window: string;
  readonly #byKey = new Map<string, Pending>();

  constructor(window: string) {
    this.#window = window;
  }

  get(key: string): Pending | undefined {
    return this.#byKey.get(key);
  }

  set(one: Pending): void {
    this.#byKey.set(one.stored.key, one);
  }

  delete(key: string): void {
    this.#byKey.delete(key);
  }

  /** All of them as they are now: what is changed meanwhile is not missed and does not matter. */
  get all(): Pending[] {
    return [...this.#byKey.values()];
  }

  /** The messages of a room, in order. */
  messages(room: string): Pending[] {
    const found = this.all.filter((one) => one.stored.room === room && one.stored.change.type === 'send');
    return found.sort((a, b) => a.stored.order - b.stored.order);
  }

  /** How many are not answered, failed ones aside. */
  get unsent(): number {
    return this.all.filter((one) => one.status === 'queued' || one.status === 'sending').length;
  }

  isOwn(key: string): boolean {
    return this.#byKey.get(key)?.stored.owner === this.#window;
  }

  /** Changes of other windows that are not over. */
  get others(): Stored[] {
    const others = this.all.filter((one) => one.stored.owner !== this.#window && one.seq === null);
    return others.map((one) => one.stored);
  }

  /** What other windows have, and not this one: change and owner. */
  takenFrom(owner: string): Map<string, string> {
    const taken = this.others.filter((stored) => stored.owner !== owner);
    return new Map(taken.map((stored) => [stored.key, stored.owner]));
  }

  /** Whether a change waits for one that another window sends, and that was made before it in the same place. */
  waits(): (key: string) => boolean {
    const first = new Map<string, number>();
    for (const stored of this.others) {
      if (stored.origin === undefined || stored.state === 'failed') continue;
      const made = madeIn(stored);
      first.set(made, Math.min(stored.order, first.get(made) ?? Infinity));
    }
    return (key) => {
      const stored = this.#byKey.get(key)?.stored;
      return stored !== undefined && (first.get(madeIn(stored)) ?? Infinity) < stored.order;
    };
  }
}

/** The window and the lane. What was made there keeps its order, whichever windows send it. */
function madeIn(stored: Stored): string {
  return `${stored.origin}/${laneOf(stored)}`;
}

/** What goes in order and rests together. A room's slow mode holds up its messages, not what is done to others. */
export function laneOf({ room, change }: Stored): string {
  return change.type === 'send' ? room : `${room}/notes`;
}
