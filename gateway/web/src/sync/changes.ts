// Changes without an answer: what goes on the wire when, over any number of sockets. Pure. A change
// keeps its key for ever. After a refusal that passes, a room's changes rest until none of them is on
// the wire, and then go again in their first order.
import { ANSWER_WAIT, IN_FLIGHT_MAX } from './limits.ts';

export interface Waiting {
  readonly key: string;
  readonly room: string;
  /** Ascending in the order in which the user made them. */
  readonly order: number;
  /** May go: it is on disk. Those of its room behind it wait for it. */
  ready: boolean;
}

export class Changes {
  #waiting: Waiting[] = [];
  /** When each went on the present socket. */
  readonly #sent = new Map<string, number>();
  /** Rooms that had a refusal, and until when they rest at least. */
  readonly #resting = new Map<string, number>();

  add(change: Waiting): void {
    // Those of a window that was closed come later and are older.
    const behind = this.#waiting.findIndex((other) => other.order > change.order);
    this.#waiting.splice(behind === -1 ? this.#waiting.length : behind, 0, change);
  }

  /** It is on disk. */
  ready(key: string): void {
    const change = this.#waiting.find((other) => other.key === key);
    if (change !== undefined) change.ready = true;
  }

  has(key: string): boolean {
    return this.#waiting.some((change) => change.key === key);
  }

  isSent(key: string): boolean {
    return this.#sent.has(key);
  }

  get count(): number {
    return this.#waiting.length;
  }

  /** Those to send now, in order; they count as sent. `waits`: what another window sends comes before it. */
  due(now: number, waits: (key: string) => boolean = () => false): string[] {
    for (const [room, until] of this.#resting) {
      if (now >= until && !this.#waiting.some((c) => c.room === room && this.#sent.has(c.key))) {
        this.#resting.delete(room);
      }
    }
    const due: string[] = [];
    const held = new Set<string>();
    for (const change of this.#waiting) {
      if (this.#sent.size >= IN_FLIGHT_MAX) break;
      if (this.#sent.has(change.key)) continue;
      if (!change.ready) held.add(change.room);
      if (held.has(change.room) || this.#resting.has(change.room) || waits(change.key)) continue;
      this.#sent.set(change.key, now);
      due.push(change.key);
    }
    return due;
  }

  /** When something has to be done next, if nothing happens before. */
  deadline(now: number): number | null {
    const times = [...this.#resting.values()].filter((until) => until > now);
    for (const sent of this.#sent.values()) times.push(sent + ANSWER_WAIT);
    return times.length === 0 ? null : Math.min(...times);
  }

  /** When the oldest one on the wire was sent. */
  get oldestSent(): number | null {
    return this.#sent.size === 0 ? null : Math.min(...this.#sent.values());
  }

  isOverdue(now: number): boolean {
    return this.oldestSent !== null && now - this.oldestSent >= ANSWER_WAIT;
  }

  /** Over: answered for good, or taken back. */
  remove(key: string): void {
    this.#waiting = this.#waiting.filter((change) => change.key !== key);
    this.#sent.delete(key);
  }

  /** A refusal that passes. */
  refusedForNow(key: string, until: number): void {
    const change = this.#waiting.find((other) => other.key === key);
    if (change === undefined) return;
    this.#sent.delete(key);
    this.#resting.set(change.room, Math.max(until, this.#resting.get(change.room) ?? 0));
  }

  /** The socket is gone: everything goes again on the next one. */
  disconnected(): void {
    this.#sent.clear();
    this.#resting.clear();
  }
}
