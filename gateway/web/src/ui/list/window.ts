// Which rows of a long list are drawn, and where they stand. Pure arithmetic over heights: the
// component measures and applies.
//
// Positions are estimates until rows were drawn once. What must not move is what the reader sees, so
// the drawn rows are placed by `top`, and not by the sum of the guesses above them: rows that come in
// above take their room out of the empty space there. Only when that space runs out (or is left over
// at the very top) is the scroll position itself changed, together with `top`.

export interface Span {
  /** Index of the first drawn row. */
  from: number;
  /** Index after the last drawn row. */
  to: number;
}

/** Row heights in order, with sums. */
export class Heights {
  #sums: Float64Array = new Float64Array(1);
  #count = 0;

  set(heights: ArrayLike<number>): void {
    this.setFrom(0, heights.length, (at) => heights[at] ?? 0);
  }

  /** There are `count` rows now, and those from `from` on have these heights. */
  setFrom(from: number, count: number, heightOf: (at: number) => number): void {
    if (this.#sums.length < count + 1) {
      const sums = new Float64Array(count * 2 + 1);
      sums.set(this.#sums.subarray(0, from + 1));
      this.#sums = sums;
    }
    let sum = this.#sums[from] ?? 0;
    for (let at = from; at < count; at += 1) {
      this.#sums[at] = sum;
      sum += heightOf(at);
    }
    this.#sums[count] = sum;
    this.#count = count;
  }

  get count(): number {
    return this.#count;
  }

  get total(): number {
    return this.#sums[this.#count] ?? 0;
  }

  /** The sum of all heights before row `at`. */
  before(at: number): number {
    return this.#sums[Math.max(0, Math.min(at, this.#count))] ?? 0;
  }

  between(from: number, to: number): number {
    return this.before(to) - this.before(from);
  }

  /** The row that covers position `y`; the first or last one outside. */
  at(y: number): number {
    let low = 0;
    let high = this.#count - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#sums[middle] ?? 0) <= y) low = middle;
      else high = middle - 1;
    }
    return Math.max(0, low);
  }
}

/** The rows to draw for a view of `height` at `y`, with `spare` pixels on both sides. */
export function spanFor(heights: Heights, y: number, height: number, spare: number): Span {
  if (heights.count === 0) return { from: 0, to: 0 };
  const from = heights.at(y - spare);
  const to = heights.at(y + height + spare) + 1;
  return { from, to };
}

/**
 * The rows to draw after rows came or went: those around the view, and beyond them what is drawn already, up
 * to `slack` pixels on each side, so that not every row that comes at one end takes another one away.
 */
export function spanAfter(heights: Heights, drawn: Span, near: Span, slack: number): Span {
  const { from, to } = drawn;
  return {
    from: from < near.from && heights.between(from, near.from) <= slack ? from : near.from,
    to: to > near.to && heights.between(near.to, to) <= slack ? to : near.to,
  };
}

/** Whether the drawn rows no longer cover the view with at least `spare` to each side, where there are rows. */
export function mustMove(heights: Heights, drawn: Span, y: number, height: number, spare: number): boolean {
  if (drawn.to > heights.count) return true;
  if (drawn.from > 0 && heights.before(drawn.from) > y - spare) return true;
  return drawn.to < heights.count && heights.before(drawn.to) < y + height + spare;
}

/**
 * Where the drawn rows go and how far to scroll. `top` is where they would stand to keep the row under
 * the reader's eye in its place; `model` is the sum of the guesses above. The space above must be zero
 * when nothing is above, and must not be used up while something is.
 */
export function settle(top: number, model: number, spare: number): { top: number; scrollBy: number } {
  const exhausted = model > 0 && top < Math.min(model, spare);
  const left = model === 0 && top !== 0;
  if (exhausted || left) return { top: model, scrollBy: model - top };
  return { top, scrollBy: 0 };
}
