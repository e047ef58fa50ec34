import { describe, expect, it } from 'vitest';
import { Laid } from './laid.ts';
import { guessHeight, type Row } from './rows.ts';

const row = (key: string): Row => ({ kind: 'new', key });
const rows = (...keys: string[]): Row[] => keys.map(row);
const GUESS = guessHeight(row('x'), 600);
const tops = (laid: Laid): number[] => laid.rows.map((_, at) => laid.heights.before(at));

describe('what is laid out', () => {
  it('has heights that were measured, and guesses', () => {
    const laid = new Laid();
    const [a, b, c] = rows('a', 'b', 'c') as [Row, Row, Row];
    laid.take([a, b, c]);
    laid.measure([b, c], (place) => [10, 20][place]!, false);
    expect([tops(laid), laid.heights.total]).toEqual([[0, GUESS, GUESS + 10], GUESS + 30]);
    expect(laid.measuredHeight([a, b, c])).toBe(30);
    expect([laid.wasMeasured('a'), laid.wasMeasured('b')]).toEqual([false, true]);
  });

  it('keeps heights by key when rows come, go and are other objects', () => {
    const laid = new Laid();
    laid.take(rows('a', 'b', 'c'));
    laid.measure(laid.rows, (place) => 10 * (place + 1), false);
    laid.take([...rows('z'), ...laid.rows.slice(0, 1), ...rows('c', 'd')]);
    expect(tops(laid)).toEqual([0, GUESS, GUESS + 10, GUESS + 40]);
    expect(['z', 'a', 'b', 'c', 'd', null].map((key) => laid.place(key))).toEqual([0, 1, undefined, 2, 3, undefined]);
  });

  it('measures a row again when it is another object, was forgotten, or all are', () => {
    const laid = new Laid();
    const [a, b] = rows('a', 'b') as [Row, Row];
    const measured: number[][] = [];
    const measure = (drawn: Row[], all = false): void => {
      const places: number[] = [];
      laid.measure(drawn, (place) => (places.push(place), 10), all);
      measured.push(places);
    };
    laid.take([a, b]);
    measure([a, b]);
    measure([a, b]);
    measure([a, row('b')]);
    laid.forget(a);
    measure([a, b]);
    measure([a, b], true);
    laid.resize(300, [a]);
    measure([a, b]);
    expect(measured).toEqual([[0, 1], [], [1], [0], [0, 1], [0, 1]]);
  });

  it('guesses again what is not drawn when the width changes', () => {
    const laid = new Laid();
    laid.take(rows('a', 'b'));
    laid.measure(laid.rows, () => 10, false);
    laid.resize(300, laid.rows.slice(0, 1));
    expect(tops(laid)).toEqual([0, 10]);
    expect(laid.heights.total).toBe(10 + GUESS);
  });
});
