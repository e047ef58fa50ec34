// Asks for pages. After a refusal it rests, twice as long each time, and says why once.

const REST_MS = 5_000;
const REST_MAX_MS = 60_000;

export class Paging {
  readonly #say: (words: string) => void;
  readonly #again: () => void;
  /** The present rest; 0: the last page came. */
  #rest = 0;
  #resting: ReturnType<typeof setTimeout> | null = null;
  #ended = false;

  /** `again`: the rest is over, and a page may be asked for. */
  constructor(say: (words: string) => void, again: () => void) {
    this.#say = say;
    this.#again = again;
  }

  async load(ask: () => Promise<void>): Promise<void> {
    if (this.#resting !== null) return;
    try {
      await ask();
      this.#rest = 0;
    } catch (error) {
      if (this.#ended || this.#resting !== null) return;
      if (this.#rest === 0) this.#say((error as Error).message);
      this.#rest = Math.min(REST_MAX_MS, this.#rest === 0 ? REST_MS : 2 * this.#rest);
      this.#resting = setTimeout(() => {
        this.#resting = null;
        this.#again();
      }, this.#rest);
    }
  }

  end(): void {
    this.#ended = true;
    if (this.#resting !== null) clearTimeout(this.#resting);
  }
}
