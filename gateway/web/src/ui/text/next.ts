// Places in a text that are asked for from left to right.

/** What finding costs: each look at a character is one. Tests hold it against the length of the text. */
export interface Work {
  looks: number;
}

/**
 * The first place, from a given one on, of which something holds. Each question begins no further left than
 * the one before, so what was found stays the answer until it is passed: however many marks are opened and
 * never closed, no place is looked at twice.
 */
export class Next {
  readonly #text: string;
  readonly #holds: (text: string, at: number) => boolean;
  readonly #work: Work;
  #found = -1;

  constructor(text: string, work: Work, holds: (text: string, at: number) => boolean) {
    this.#text = text;
    this.#work = work;
    this.#holds = holds;
  }

  /** The length of the text when there is none. */
  from(at: number): number {
    if (this.#found >= at) return this.#found;
    let found = at;
    while (found < this.#text.length && !this.#holds(this.#text, found)) found += 1;
    this.#work.looks += found - at + 1;
    this.#found = found;
    return found;
  }
}
