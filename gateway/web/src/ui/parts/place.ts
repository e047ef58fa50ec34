// Where something small stands beside its anchor: below if it fits, else above; always in the page.

interface Size {
  width: number;
  height: number;
}

const GAP = 6;
/** What is left free at the edges of the page. */
export const EDGE = 8;

export function place(anchor: DOMRect, box: Size, page: Size): { x: number; y: number } {
  const fitsBelow = anchor.bottom + GAP + box.height <= page.height - EDGE;
  const fitsAbove = anchor.top - GAP - box.height >= EDGE;
  const y = fitsBelow || !fitsAbove ? anchor.bottom + GAP : anchor.top - GAP - box.height;
  // Aligned with the nearer side of the page, so that it opens towards the middle.
  const x = anchor.left + anchor.width / 2 > page.width / 2 ? anchor.right - box.width : anchor.left;
  return { x: clamp(x, EDGE, page.width - box.width - EDGE), y: clamp(y, EDGE, page.height - box.height - EDGE) };
}

function clamp(value: number, low: number, high: number): number {
  return Math.max(low, Math.min(value, high));
}
