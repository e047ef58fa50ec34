// The last minutes of each node's events a second, for the plots. Nothing is kept beyond the page.
import type { NodeReport } from './report.ts';

/** What a plot shows. */
export const SPAN_MS = 5 * 60_000;
/** A break in the line: the page was hidden, or the server did not answer. */
export const BREAK_MS = 10_000;

export interface Sample {
  at: number;
  value: number;
}

/** Each node's samples, oldest first; ids of nodes that are gone are forgotten. */
export type History = ReadonlyMap<number, readonly Sample[]>;

/** The history with one more look at the nodes. */
export function extended(history: History, nodes: readonly NodeReport[], at: number): History {
  const next = new Map<number, readonly Sample[]>();
  for (const node of nodes) {
    const kept = (history.get(node.id) ?? []).filter((sample) => sample.at > at - SPAN_MS && sample.at < at);
    next.set(node.id, [...kept, { at, value: node.events_per_second }]);
  }
  return next;
}

/** The top of a plot: a round number that nothing passes, the same for all nodes. */
export function ceiling(history: History): number {
  let most = 1;
  for (const samples of history.values()) for (const { value } of samples) most = Math.max(most, value);
  const step = 10 ** Math.floor(Math.log10(most));
  return Math.ceil(most / step) * step;
}

/** The line as an SVG path in a box of `width` by `height`; a gap in time is a gap in the line. */
export function path(samples: readonly Sample[], now: number, top: number, width: number, height: number): string {
  let line = '';
  let before: number | null = null;
  for (const { at, value } of samples) {
    const x = round(width * (1 - (now - at) / SPAN_MS));
    const y = round(height * (1 - Math.min(value, top) / top));
    const joins = before !== null && at - before < BREAK_MS;
    line += joins ? `L${x} ${y}` : `M${x} ${y}h0`;
    before = at;
  }
  return line;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
