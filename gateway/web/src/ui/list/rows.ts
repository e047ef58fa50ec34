// Items into the rows that the list shows: dividers, grouping, and rows that stay the same object
// while nothing in them changes, so that only what changed is drawn again.
import type { Item } from '../../state/types.ts';
import { dayOf } from '../text/when.ts';

export type Row =
  | { kind: 'start'; key: string }
  | { kind: 'day'; key: string; at: number }
  | { kind: 'new'; key: string }
  | { kind: 'message'; key: string; item: Item; head: boolean }
  | { kind: 'notice'; key: string; item: Item }
  | { kind: 'gap'; key: string };

/** Messages of one sender stand together when no more than this lies between them. */
export const GROUP_MS = 5 * 60_000;

/** Whether a message shows its sender again. */
export function startsGroup(item: Item, before: Item | null): boolean {
  if (before === null || before.kind !== 'message' || item.replyTo !== null) return true;
  if (before.sender.id !== item.sender.id) return true;
  return item.sentAt - before.sentAt > GROUP_MS || dayOf(item.sentAt) !== dayOf(before.sentAt);
}

/** Where the making of rows stands after an item. */
interface Stand {
  /** Rows so far. */
  rows: number;
  day: number;
  /** The line of new messages is drawn, or there is none. */
  marked: boolean;
}

/** Makes rows; keeps those of the last call that are still right. What begins as the last call did is not made again. */
export class Rows {
  #items: readonly Item[] = [];
  #rows: readonly Row[] = [];
  /** After each of the items. */
  #stands: Stand[] = [];
  #firstUnread: number | null = null;
  #whole = false;

  /** `whole`: the items begin with the room's first. */
  build(items: readonly Item[], firstUnread: number | null, whole = false): Row[] {
    const likeBefore = firstUnread === this.#firstUnread && whole === this.#whole;
    const from = likeBefore ? sharedStart(this.#items, items) : 0;
    const begin = this.#stands[from - 1] ?? { rows: 0, day: -1, marked: firstUnread === null };
    const rows = this.#rows.slice(0, begin.rows);
    const stands = this.#stands.slice(0, from);
    const old = new Map(this.#rows.slice(begin.rows).map((row) => [row.key, row]));
    const put = (row: Row): void => {
      const kept = old.get(row.key);
      rows.push(kept !== undefined && same(kept, row) ? kept : row);
    };
    if (whole && from === 0) put({ kind: 'start', key: 'start' });
    let before = items[from - 1] ?? null;
    let { day, marked } = begin;
    for (const item of items.slice(from)) {
      if (item.kind !== 'gap-loading') {
        const itsDay = dayOf(item.sentAt);
        if (itsDay !== day) {
          put({ kind: 'day', key: `day-${itsDay}-${day === -1 ? 'top' : item.id}`, at: item.sentAt });
          day = itsDay;
          before = null;
        }
      }
      if (!marked && item.seq !== null && firstUnread !== null && item.seq >= firstUnread) {
        put({ kind: 'new', key: 'new' });
        marked = true;
        before = null;
      }
      put(rowOf(item, before));
      before = item;
      stands.push({ rows: rows.length, day, marked });
    }
    [this.#items, this.#rows, this.#stands] = [items, rows, stands];
    [this.#firstUnread, this.#whole] = [firstUnread, whole];
    return rows;
  }
}

/** How many of both are the same, from the first on. */
export function sharedStart<T>(a: readonly T[], b: readonly T[]): number {
  const most = Math.min(a.length, b.length);
  let count = 0;
  while (count < most && a[count] === b[count]) count += 1;
  return count;
}

function rowOf(item: Item, before: Item | null): Row {
  if (item.kind === 'message') return { kind: 'message', key: item.id, item, head: startsGroup(item, before) };
  if (item.kind === 'gap-loading') return { kind: 'gap', key: item.id };
  return { kind: 'notice', key: item.id, item };
}

function same(a: Row, b: Row): boolean {
  if (a.kind === 'message') return b.kind === 'message' && a.item === b.item && a.head === b.head;
  if (a.kind === 'notice') return b.kind === 'notice' && a.item === b.item;
  if (a.kind === 'day') return b.kind === 'day' && dayOf(a.at) === dayOf(b.at);
  return a.kind === b.kind;
}

/** A guess of a row's height before it was ever drawn, for `width` pixels of text. */
export function guessHeight(row: Row, width: number): number {
  if (row.kind === 'start') return 180;
  if (row.kind !== 'message') return row.kind === 'notice' ? 30 : 44;
  const { item, head } = row;
  const body = item.body ?? '';
  const perLine = Math.max(20, Math.floor(width / 7.4));
  let lines = 0;
  let from = 0;
  for (;;) {
    const to = body.indexOf('\n', from);
    lines += Math.max(1, Math.ceil(((to < 0 ? body.length : to) - from) / perLine));
    if (to < 0) break;
    from = to + 1;
  }
  return lines * 22.5 + 4 + (head ? 32 : 0) + (item.replyTo === null ? 0 : 26) + (item.reactions.length > 0 ? 34 : 0);
}
