import { describe, expect, it } from 'vitest';
import { Tally } from './tally.ts';
import type { Event } from './wire.ts';

const me = { id: 'me', username: 'me' };
const ann = { id: 'ann', username: 'ann' };
const message = (seq: number, body = 'hi', sender = ann): Event => ({
  seq, kind: 'message', sender, sent_at: '2026-01-01T00:00:00.000Z', key: `k${seq}`, body,
});

describe('the tally', () => {
  it('counts what comes after the summary, and not what the summary counted', () => {
    const tally = new Tally();
    tally.summary({ head: 5, read: 2, unread: 3, mentions: 1 });
    for (const seq of [4, 5]) tally.apply(message(seq), me);
    tally.apply(message(6, 'hi @me'), me);
    tally.apply(message(7, 'mine', me), me);
    expect([tally.unread, tally.mentions]).toEqual([4, 2]);
  });

  it('moves with the read mark', () => {
    const tally = new Tally();
    tally.summary({ head: 5, read: 2, unread: 3, mentions: 0 });
    tally.apply(message(6), me);
    tally.apply(message(7), me);
    expect(tally.readTo(6)).toBe(true);
    expect([tally.unread, tally.uncertain]).toEqual([1, false]);
    expect(tally.readTo(3)).toBe(false);
  });

  it('asks when the mark is inside of what only the server counted', () => {
    const tally = new Tally();
    tally.summary({ head: 5, read: 0, unread: 4, mentions: 0 });
    tally.readTo(3);
    expect(tally.uncertain).toBe(true);
    tally.summary({ head: 5, read: 3, unread: 2, mentions: 0 });
    expect([tally.unread, tally.uncertain]).toEqual([2, false]);
  });

  it('lets go of what was deleted', () => {
    const tally = new Tally();
    tally.summary({ head: 1, read: 0, unread: 1, mentions: 0 });
    tally.apply(message(2), me);
    tally.apply({ ...message(3), kind: 'delete', target: 2 }, me);
    expect([tally.unread, tally.uncertain]).toEqual([1, false]);
    tally.apply({ ...message(4), kind: 'delete', target: 1 }, me);
    expect(tally.uncertain).toBe(true);
  });

  it('counts by the last edit', () => {
    const tally = new Tally();
    const edit = (seq: number, target: number, body: string): Event => ({ ...message(seq, body), kind: 'edit', target });
    tally.summary({ head: 5, read: 2, unread: 3, mentions: 0 });
    tally.apply(message(6), me);
    tally.apply(edit(7, 6, 'hi @me'), me);
    expect([tally.unread, tally.mentions, tally.uncertain]).toEqual([1 + 3, 1, false]);
    tally.apply(edit(8, 6, 'hi'), me);
    expect(tally.mentions).toBe(0);
    // Of what only the server counted: nothing can change, then something can.
    tally.apply(edit(9, 5, 'ho'), me);
    tally.apply(edit(10, 2, 'read @me'), me);
    expect(tally.uncertain).toBe(false);
    tally.apply(edit(11, 4, '@me'), me);
    expect(tally.uncertain).toBe(true);
    tally.summary({ head: 10, read: 2, unread: 4, mentions: 0 });
    expect(tally.uncertain).toBe(true);
    tally.summary({ head: 11, read: 2, unread: 4, mentions: 1 });
    expect([tally.unread, tally.mentions, tally.uncertain]).toEqual([4, 1, false]);
    tally.apply(edit(12, 4, 'not any more'), me);
    expect(tally.uncertain).toBe(true);
  });

  it('asks about an edit that came before an older summary told of a mention', () => {
    const tally = new Tally();
    tally.summary({ head: 5, read: 5, unread: 0, mentions: 0 });
    tally.apply(message(6, '@me'), me);
    tally.apply({ ...message(8, 'nobody'), kind: 'edit', target: 6 }, me);
    expect([tally.mentions, tally.uncertain]).toEqual([0, false]);
    tally.summary({ head: 7, read: 5, unread: 1, mentions: 1 });
    expect(tally.uncertain).toBe(true);
  });

  it('asks when the mark is among mentions that are older than what is counted as unread', () => {
    const tally = new Tally();
    tally.summary({ head: 5_000, read: 10, unread: 0, mentions: 2 });
    tally.readTo(20);
    expect(tally.uncertain).toBe(true);
    tally.readTo(5_000);
    expect([tally.mentions, tally.uncertain]).toEqual([0, false]);
  });

  it('does not go back to an older summary', () => {
    const tally = new Tally();
    tally.summary({ head: 9, read: 0, unread: 6, mentions: 0 });
    tally.apply(message(10), me);
    tally.summary({ head: 4, read: 0, unread: 2, mentions: 0 });
    expect(tally.unread).toBe(7);
  });
});
