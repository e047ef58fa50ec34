// Who is typing where. Pure: time is given. Being heard lasts a few seconds; a message ends it.
import { TYPING_EVERY, TYPING_FOR } from './limits.ts';
import type { User } from './wire.ts';

export class Typing {
  readonly #heard = new Map<string, Map<string, { user: User; until: number }>>();
  readonly #said = new Map<string, number>();

  /** True when it is news. */
  heard(room: string, user: User, now: number): boolean {
    let of = this.#heard.get(room);
    if (of === undefined) this.#heard.set(room, (of = new Map()));
    const news = !of.has(user.id);
    of.set(user.id, { user, until: now + TYPING_FOR });
    return news;
  }

  /** They sent what they typed. True when they were heard typing. */
  ended(room: string, user: string): boolean {
    return this.#heard.get(room)?.delete(user) ?? false;
  }

  people(room: string): User[] {
    return Array.from(this.#heard.get(room)?.values() ?? [], (one) => one.user);
  }

  /** Lets go of who was not heard lately; the rooms where somebody was. */
  expire(now: number): string[] {
    const changed: string[] = [];
    for (const [room, of] of this.#heard) {
      const before = of.size;
      for (const [id, one] of of) if (one.until <= now) of.delete(id);
      if (of.size !== before) changed.push(room);
      if (of.size === 0) this.#heard.delete(room);
    }
    return changed;
  }

  /** When somebody runs out next. */
  get nextAt(): number | null {
    let next: number | null = null;
    for (const of of this.#heard.values()) for (const one of of.values()) next = Math.min(next ?? Infinity, one.until);
    return next;
  }

  /** Whether the user's own typing is to be said now. */
  say(room: string, now: number): boolean {
    if (now - (this.#said.get(room) ?? -Infinity) < TYPING_EVERY) return false;
    this.#said.set(room, now);
    return true;
  }

  /** What the user typed was sent: the next key press is said at once. */
  sent(room: string): void {
    this.#said.delete(room);
  }

  clear(): void {
    this.#heard.clear();
    this.#said.clear();
  }
}
