import { describe, expect, it } from 'vitest';
import type { Item } from '../../state/types.ts';
import { dayOf } from '../text/when.ts';
import { GROUP_MS, guessHeight, Rows, type Row } from './rows.ts';

const NOON = new Date(2026, 2, 4, 12).getTime();

function item(seq: number, sentAt: number, over: Partial<Item> = {}): Item {
  return {
    id: `k${seq}`, seq, kind: 'message', sender: { id: 'a', username: 'anna' }, sentAt, body: 'hi', encrypted: false,
    replyTo: null, editedAt: null, deletedBy: null, reactions: [], pinned: false, status: 'sent', error: null,
    mentionsMe: false, mine: false, notice: null, ...over,
  };
}

const shape = (rows: Row[]): string[] =>
  rows.map((row) => (row.kind === 'message' ? `${row.head ? 'head' : 'more'} ${row.key}` : row.kind));

describe('rows', () => {
  it('group what one sender says within five minutes', () => {
    const items = [
      item(1, NOON), item(2, NOON + GROUP_MS), item(3, NOON + 2 * GROUP_MS + 1),
      item(4, NOON + 2 * GROUP_MS + 2, { sender: { id: 'b', username: 'bob' } }),
      item(5, NOON + 2 * GROUP_MS + 3, { sender: { id: 'b', username: 'bob' }, replyTo: 1 }),
    ];
    expect(shape(new Rows().build(items, null))).toEqual(['day', 'head k1', 'more k2', 'head k3', 'head k4', 'head k5']);
  });

  it('divide days, and do not group across midnight', () => {
    const late = new Date(2026, 2, 4, 23, 59).getTime();
    const items = [item(1, late), item(2, late + 120_000)];
    expect(shape(new Rows().build(items, null))).toEqual(['day', 'head k1', 'day', 'head k2']);
  });

  it('put the line of new messages before the first unread one, once', () => {
    const items = [item(1, NOON), item(2, NOON), item(3, NOON)];
    expect(shape(new Rows().build(items, 2))).toEqual(['day', 'head k1', 'new', 'head k2', 'more k3']);
    expect(shape(new Rows().build(items, 9))).toEqual(['day', 'head k1', 'more k2', 'more k3']);
  });

  it('begin a group again after somebody joined', () => {
    const items = [item(1, NOON), item(2, NOON, { kind: 'member' }), item(3, NOON)];
    expect(shape(new Rows().build(items, null))).toEqual(['day', 'head k1', 'notice', 'head k3']);
  });

  it('stay the same objects where nothing changed', () => {
    const rows = new Rows();
    const items = [item(1, NOON), item(2, NOON)];
    const first = rows.build(items, null);
    const second = rows.build([items[0]!, { ...items[1]!, body: 'other' }], null);
    expect(second[0]).toBe(first[0]);
    expect(second[1]).toBe(first[1]);
    expect(second[2]).not.toBe(first[2]);
  });

  it('are those of a first look, whatever came and went before', () => {
    let seed = 7;
    const below = (bound: number): number => (seed = (seed * 48_271) % 2_147_483_647) % bound;
    // Of a day's row only the day counts.
    const made = (rows: Rows): Row[] => rows.build(items, firstUnread, whole).map((row) => (row.kind === 'day' ? { ...row, at: dayOf(row.at) } : row));
    const kept = new Rows();
    let items: Item[] = [];
    let [firstUnread, whole]: [number | null, boolean] = [null, false];
    for (let step = 0; step < 400; step += 1) {
      const act = below(8);
      const at = below(items.length + 1);
      if (act < 4) items = [...items, item(1_000 + step, NOON + step * below(9) * 600_000)];
      else if (act === 4) items = [item(1_000 - step, NOON - step * 3_600_000), ...items];
      else if (act === 5) items = items.map((one, place) => (place === at ? { ...one, body: `edited ${step}` } : one));
      else if (act === 6) items = items.filter((_, place) => place !== at);
      else [firstUnread, whole] = [below(3) === 0 ? 1_000 + below(400) : null, below(2) === 0];
      expect(made(kept)).toEqual(made(new Rows()));
    }
  });

  it('have keys that no two rows share', () => {
    const items = Array.from({ length: 50 }, (_, at) => item(at + 1, NOON + at * 3_600_000 * 7));
    const keys = new Rows().build(items, 20).map((row) => row.key);
    expect(new Set(keys).size).toBe(keys.length);
  });

  it('are guessed higher the more they hold', () => {
    const guess = (over: Partial<Item>): number =>
      guessHeight({ kind: 'message', key: 'x', item: item(1, NOON, over), head: false }, 600);
    expect(guess({ body: 'a\nb\nc' })).toBeGreaterThan(guess({}));
    expect(guess({ body: 'x'.repeat(400) })).toBeGreaterThan(guess({}));
    expect(guess({ replyTo: 1 })).toBeGreaterThan(guess({}));
  });
});
