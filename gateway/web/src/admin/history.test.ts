import { describe, expect, it } from 'vitest';
import { BREAK_MS, SPAN_MS, ceiling, extended, path, type History } from './history.ts';
import type { NodeReport } from './report.ts';

function node(id: number, rate: number): NodeReport {
  return {
    id, name: `n${id}`, control: '', data: '', state: 'up', shards: 0, rooms: 0, sessions: 0,
    events_per_second: rate, version: '',
  };
}

describe('the history of rates', () => {
  it('keeps the span and forgets nodes that are gone', () => {
    let history: History = new Map();
    history = extended(history, [node(1, 5), node(2, 6)], 1_000);
    history = extended(history, [node(1, 7)], 3_000);
    expect([...history.keys()]).toEqual([1]);
    expect(history.get(1)).toEqual([{ at: 1_000, value: 5 }, { at: 3_000, value: 7 }]);
    history = extended(history, [node(1, 9)], 1_000 + SPAN_MS);
    expect(history.get(1)?.map((sample) => sample.value)).toEqual([7, 9]);
  });

  it('has a round top that nothing passes', () => {
    const of = (value: number): History => new Map([[1, [{ at: 0, value }]]]);
    expect(ceiling(new Map())).toBe(1);
    expect(ceiling(of(0.2))).toBe(1);
    expect(ceiling(of(41))).toBe(50);
    expect(ceiling(of(1_000))).toBe(1_000);
    expect(ceiling(of(1_001))).toBe(2_000);
  });

  it('draws a line from left to right, and breaks it where nobody looked', () => {
    const samples = [
      { at: SPAN_MS / 2, value: 0 },
      { at: SPAN_MS / 2 + 2_000, value: 10 },
      { at: SPAN_MS / 2 + 2_000 + BREAK_MS, value: 5 },
    ];
    const drawn = path(samples, SPAN_MS, 10, 300, 40);
    expect(drawn).toBe('M150 40h0L152 0M162 20h0');
  });
});
