import { describe, expect, it } from 'vitest';
import { Heights, mustMove, settle, spanAfter, spanFor } from './window.ts';

function tens(count: number): Heights {
  const heights = new Heights();
  heights.set(new Array<number>(count).fill(10));
  return heights;
}

describe('heights', () => {
  it('find the row at a position, and the ends outside', () => {
    const heights = new Heights();
    heights.set([10, 30, 5]);
    expect([-5, 0, 9, 10, 39, 40, 44, 99].map((y) => heights.at(y))).toEqual([0, 0, 0, 1, 1, 2, 2, 2]);
    expect(heights.total).toBe(45);
    expect(heights.between(1, 3)).toBe(35);
  });

  it('forget what was longer before', () => {
    const heights = tens(100);
    heights.set([7]);
    expect(heights.total).toBe(7);
    expect(heights.at(500)).toBe(0);
    expect(heights.before(50)).toBe(7);
  });

  it('change from a row on', () => {
    const heights = tens(4);
    heights.setFrom(2, 6, (at) => at);
    expect([0, 1, 2, 3, 4, 5, 6].map((at) => heights.before(at))).toEqual([0, 10, 20, 22, 25, 29, 34]);
    heights.setFrom(1, 200, () => 1);
    expect([heights.before(1), heights.total, heights.count]).toEqual([10, 209, 200]);
  });

  it('hold nothing at first', () => {
    expect(spanFor(new Heights(), 0, 100, 50)).toEqual({ from: 0, to: 0 });
  });
});

describe('the span', () => {
  it('covers the view and some to both sides, however long the list is', () => {
    expect(spanFor(tens(10_000), 50_000, 100, 50)).toEqual({ from: 4_995, to: 5_016 });
    expect(spanFor(tens(10_000), 0, 100, 50)).toEqual({ from: 0, to: 16 });
    expect(spanFor(tens(10_000), 99_900, 100, 50)).toEqual({ from: 9_985, to: 10_000 });
  });

  it('moves only when the view comes near its ends', () => {
    const heights = tens(100);
    const drawn = { from: 40, to: 70 };
    expect(mustMove(heights, drawn, 500, 100, 50)).toBe(false);
    expect(mustMove(heights, drawn, 440, 100, 50)).toBe(true);
    expect(mustMove(heights, drawn, 560, 100, 50)).toBe(true);
    expect(mustMove(heights, { from: 0, to: 100 }, 0, 1_000, 50)).toBe(false);
  });
});

describe('the span after rows came or went', () => {
  it('keeps what is drawn up to some pixels beyond, on each side by itself', () => {
    const near = { from: 40, to: 60 };
    expect(spanAfter(tens(100), { from: 35, to: 65 }, near, 50)).toEqual({ from: 35, to: 65 });
    expect(spanAfter(tens(100), { from: 34, to: 65 }, near, 50)).toEqual({ from: 40, to: 65 });
    expect(spanAfter(tens(100), { from: 45, to: 55 }, near, 50)).toEqual(near);
    expect(spanAfter(tens(100), { from: 0, to: 100 }, near, 50)).toEqual(near);
  });
});

describe('settling', () => {
  it('leaves the scroll position alone while there is room above', () => {
    expect(settle(900, 1_000, 500)).toEqual({ top: 900, scrollBy: 0 });
    expect(settle(1_400, 1_000, 500)).toEqual({ top: 1_400, scrollBy: 0 });
  });

  it('scrolls with the rows when the room above is used up', () => {
    expect(settle(-20, 1_000, 500)).toEqual({ top: 1_000, scrollBy: 1_020 });
    expect(settle(300, 1_000, 500)).toEqual({ top: 1_000, scrollBy: 700 });
  });

  it('leaves no hole above the very first row', () => {
    expect(settle(120, 0, 500)).toEqual({ top: 0, scrollBy: -120 });
    expect(settle(-30, 0, 500)).toEqual({ top: 0, scrollBy: 30 });
    expect(settle(0, 0, 500)).toEqual({ top: 0, scrollBy: 0 });
  });
});
