// The messages of one room that are being changed. What was typed is kept here and not in its box: a box
// goes when its row is out of reach, or when another room is opened, and is drawn again later. So is what is
// being saved, for the box that is there when it is answered.
import { SvelteMap } from 'svelte/reactivity';
import type { Conversation } from '../../state/types.ts';

export class Edits {
  /** Key of the message whose box is open. */
  open = $state<string | null>(null);
  readonly #texts = new Map<string, string>();
  /** What is on its way, and the end of that. */
  readonly #saving = new SvelteMap<string, { body: string; done: Promise<void> }>();
  readonly #faults = new SvelteMap<string, string>();
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

  /** What was typed, or is being saved, or what the message says. */
  text(key: string, body: string): string {
    return this.#texts.get(key) ?? this.#saving.get(key)?.body ?? body;
  }

  write(key: string, text: string): void {
    this.#texts.set(key, text);
  }

  /** `sent`: the change is made, or refused. Until then its box takes no other text. */
  save(key: string, body: string, sent: Promise<void>): Promise<void> {
    const done = this.#answer(key, body, sent);
    this.#faults.delete(key);
    this.#saving.set(key, { body, done });
    return done;
  }

  /** Over when it is saved or refused; null: it is not being saved. */
  saving(key: string): Promise<void> | null {
    return this.#saving.get(key)?.done ?? null;
  }

  /** Why it was not saved. */
  fault(key: string): string | null {
    return this.#faults.get(key) ?? null;
  }

  /** It is left as it was. */
  end(key: string): void {
    this.#texts.delete(key);
    this.#faults.delete(key);
    if (this.open === key) this.open = null;
  }

  async #answer(key: string, body: string, sent: Promise<void>): Promise<void> {
    try {
      await sent;
      this.#saving.delete(key);
      // What was typed since is nobody's but the writer's to lose.
      if ((this.#texts.get(key) ?? body).trim() === body) this.end(key);
    } catch (error) {
      this.#saving.delete(key);
      // Who gave it up meanwhile begins with what the message says.
      if (this.open === key || this.#texts.has(key)) this.#faults.set(key, (error as Error).message);
    }
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
