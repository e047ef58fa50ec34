// The messages of one room that are being changed. What was typed is kept here and not in its box: a box
// goes when its row is out of reach, or when another room is opened, and is drawn again later.
import type { Conversation } from '../../state/types.ts';

export class Edits {
  /** Key of the message whose box is open. */
  open = $state<string | null>(null);
  readonly #texts = new Map<string, string>();
  #asked: string | null = null;

  begin(key: string): void {
    this.open = key;
    this.#asked = key;
  }

  /** Whether the box may take the focus: once, when it was asked for, and not when it is drawn again. */
  mayTakeFocus(key: string): boolean {
    const may = this.#asked === key;
    if (may) this.#asked = null;
    return may;
  }

  /** What was typed, or what the message says. */
  text(key: string, body: string): string {
    return this.#texts.get(key) ?? body;
  }

  write(key: string, text: string): void {
    this.#texts.set(key, text);
  }

  /** It is saved, or left as it was. */
  end(key: string): void {
    this.#texts.delete(key);
    if (this.open === key) this.open = null;
  }
}

const all = new WeakMap<Conversation, Edits>();

/** Those of a room: the same for as long as the page knows the room. */
export function editsOf(conv: Conversation): Edits {
  let found = all.get(conv);
  if (found === undefined) {
    found = new Edits();
    all.set(conv, found);
  }
  return found;
}
