// One of eight colours for a node, after Okabe and Ito, whose colours people with any kind of colour
// blindness tell apart. They are the same in both themes, each with text that can be read on it.
import './colours.css';

export const HUES = 8;

/** Nodes that began together have different ones. */
export function hueOf(id: number): number {
  return id % HUES;
}
