// What is being written in a room, and which message it answers: kept in this browser, and one for all of
// its windows, so that what one of them shows is what any other would send. What was typed here and not
// heard of elsewhere is neither taken over nor taken away.
import type { Memory } from '../sync/env.ts';

export class Draft {
  readonly #text: Kept;
  readonly #replyTo: Kept;
  readonly #changed: () => void;
  /** What was answered before the words of other windows that are not taken over yet; null: there are none. */
  #before: string | null = null;

  constructor(memory: Memory, user: string, room: string, changed: () => void) {
    this.#text = new Kept(memory, `parlance.draft.${user}.${room}`);
    this.#replyTo = new Kept(memory, `parlance.reply-to.${user}.${room}`);
    this.#changed = changed;
  }

  get text(): string {
    return this.#text.value;
  }

  set text(text: string) {
    if (this.#text.set(text)) this.#changed();
  }

  get replyTo(): number | null {
    const seq = Number(this.#replyTo.value);
    return Number.isSafeInteger(seq) && seq > 0 ? seq : null;
  }

  set replyTo(seq: number | null) {
    if (this.#replyTo.set(seq === null ? '' : String(seq))) this.#changed();
  }

  /** Another window changed what the browser keeps under a name. */
  hear(name: string, before: string, now: string): void {
    const other = this.#text.name === name && this.#text.hear(before, now);
    if (this.#replyTo.name === name) this.#before ??= before;
    if (this.#hearReply() || other) this.#changed();
  }

  /** What is answered is taken over with its text only: what stands here instead would go there as an answer. */
  #hearReply(): boolean {
    if (this.#before === null || !this.#text.isKept) return false;
    const before = this.#before;
    this.#before = null;
    return this.#replyTo.hear(before, this.#replyTo.kept);
  }
}

/** One text that is kept under a name; an empty one is not kept. */
class Kept {
  readonly name: string;
  readonly #memory: Memory;
  #value: string | null = null;

  constructor(memory: Memory, name: string) {
    this.#memory = memory;
    this.name = name;
  }

  get value(): string {
    this.#value ??= this.#memory.get(this.name) ?? '';
    return this.#value;
  }

  /** What the browser keeps, whichever window wrote it. */
  get kept(): string {
    return this.#memory.get(this.name) ?? '';
  }

  get isKept(): boolean {
    return this.value === this.kept;
  }

  set(value: string): boolean {
    const before = this.value;
    if (value === before) return false;
    this.#value = value;
    // What another window wrote, and this one has not shown, is not this one's to write over or to remove.
    const { kept } = this;
    if (kept === '' || kept === before) this.#memory.set(this.name, value === '' ? null : value);
    return true;
  }

  /** Whether it is another text from now on. */
  hear(before: string, now: string): boolean {
    // Not read yet: what is read then is newer.
    if (this.#value === null || this.#value === now) return false;
    if (this.#value === before) {
      this.#value = now;
      return true;
    }
    // Something else was written here: it is kept as soon as the other window has removed its own.
    if (now === '' && this.#memory.get(this.name) === null) this.#memory.set(this.name, this.#value);
    return false;
  }
}
