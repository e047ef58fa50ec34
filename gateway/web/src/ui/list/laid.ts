// The rows as they were last laid out, with their heights: measured where they were drawn, guessed where not.
import { guessHeight, sharedStart, type Row } from './rows.ts';
import { Heights } from './window.ts';

/** What stands beside the text of a message, and how wide its text is at least and at most. */
const BESIDE_PX = 90;
const TEXT_PX_MIN = 200;
const TEXT_PX_MAX = 736;

export class Laid {
  readonly heights = new Heights();
  #rows: readonly Row[] = [];
  readonly #places = new Map<string, number>();
  readonly #measured = new Map<string, number>();
  /** Rows that were measured as they are drawn now. */
  #known = new WeakSet<Row>();
  #textWidth = 600;

  get rows(): readonly Row[] {
    return this.#rows;
  }

  place(key: string | null | undefined): number | undefined {
    return key == null ? undefined : this.#places.get(key);
  }

  wasMeasured(key: string): boolean {
    return this.#measured.has(key);
  }

  /** Other rows: what begins as before is not looked at again. */
  take(rows: readonly Row[]): void {
    const from = sharedStart(this.#rows, rows);
    for (const row of this.#rows.slice(from)) this.#places.delete(row.key);
    for (const [at, row] of rows.slice(from).entries()) this.#places.set(row.key, from + at);
    this.#rows = rows;
    this.#sum(from);
  }

  /** Measures those that are drawn, or, not `all`, those that were not measured as they are. */
  measure(drawn: readonly Row[], heightOf: (place: number) => number, all: boolean): void {
    let changed = this.#rows.length;
    drawn.forEach((row, place) => {
      if (!all && this.#known.has(row)) return;
      this.#known.add(row);
      const height = heightOf(place);
      if (this.#measured.get(row.key) === height) return;
      this.#measured.set(row.key, height);
      changed = Math.min(changed, this.#places.get(row.key) ?? changed);
    });
    this.#sum(changed);
  }

  /** It may look different from when it was measured. */
  forget(row: Row | undefined): void {
    if (row !== undefined) this.#known.delete(row);
  }

  /** Text breaks elsewhere. What is not drawn is guessed again. */
  resize(viewWidth: number, drawn: readonly Row[]): void {
    this.#textWidth = Math.min(TEXT_PX_MAX, Math.max(TEXT_PX_MIN, viewWidth - BESIDE_PX));
    const stay = new Set(drawn.map((row) => row.key));
    for (const key of this.#measured.keys()) if (!stay.has(key)) this.#measured.delete(key);
    this.#known = new WeakSet();
    this.#sum(0);
  }

  /** How high these are together, as far as they were measured. */
  measuredHeight(rows: readonly Row[]): number {
    return rows.reduce((sum, row) => sum + (this.#measured.get(row.key) ?? 0), 0);
  }

  #sum(from: number): void {
    this.heights.setFrom(from, this.#rows.length, (at) => {
      const row = this.#rows[at];
      return row === undefined ? 0 : (this.#measured.get(row.key) ?? guessHeight(row, this.#textWidth));
    });
  }
}
