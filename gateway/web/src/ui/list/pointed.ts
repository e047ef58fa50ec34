// Which message the mouse points at. One that comes under a mouse that rests, because the list moved by itself,
// is not pointed at: its actions would come and go under the reader's eyes.

/** What comes under the mouse so long after its wheel turned came by the wheel. */
const WHEEL_MS = 400;

interface Moved {
  screenX: number;
  screenY: number;
  timeStamp: number;
}

export class Pointed {
  #x = NaN;
  #y = NaN;
  #wheeledAt = -Infinity;
  /** Something came under the mouse while it rested. */
  #missed = false;

  /** The mouse is over something else now. Whether it is pointed at. */
  over({ screenX, screenY, timeStamp }: Moved): boolean {
    const rests = screenX === this.#x && screenY === this.#y;
    this.#missed = rests && timeStamp - this.#wheeledAt > WHEEL_MS;
    [this.#x, this.#y] = [screenX, screenY];
    return !this.#missed;
  }

  /** The mouse moved. Whether it points at something now that it did not point at before, without having come over it. */
  moved(moved: Moved): boolean {
    return this.#missed && this.over(moved);
  }

  wheeled({ timeStamp }: Pick<Moved, 'timeStamp'>): void {
    this.#wheeledAt = timeStamp;
  }
}
