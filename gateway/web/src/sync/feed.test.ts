import { describe, expect, it } from 'vitest';
import { Feed } from './feed.ts';
import { seeded } from './testkit/random.ts';

const at = (seq: number): Feed => new Feed({ gen: 1, seq });

describe('a feed', () => {
  it('has a gap due until it is applied', () => {
    const feed = at(10);
    feed.missed(12);
    expect([feed.missing, feed.pageDue]).toEqual([2, 0]);
    feed.applied();
    expect(feed.missing).toBe(1);
    feed.applied();
    expect([feed.missing, feed.pageDue]).toEqual([0, null]);
  });

  it('without a cursor starts at the head', () => {
    const feed = new Feed();
    expect(feed.place(5)).toBe('known');
    expect(feed.subscribed(1, 7)).toBe(true);
    expect([7, 8, 9].map((seq) => feed.place(seq))).toEqual(['known', 'next', 'ahead']);
  });

  it('starts anew with another generation', () => {
    const feed = at(10);
    expect(feed.subscribed(1, 20)).toBe(true);
    expect(feed.cursor).toEqual({ gen: 1, seq: 10 });
    expect([feed.era(1), feed.era(2)]).toEqual(['present', 'later']);
    expect(feed.subscribed(2, 4)).toBe(false);
    expect(feed.cursor).toEqual({ gen: 2, seq: 4 });
    expect(feed.era(1)).toBe('former');
  });

  it('asks for one page at a time, and not before it may', () => {
    const feed = at(0);
    feed.missed(3);
    feed.pageAsked();
    expect(feed.pageDue).toBeNull();
    feed.pageEnded(500);
    expect(feed.pageDue).toBe(500);
    feed.disconnected();
    expect(feed.pageDue).toBeNull();
  });

  it('applies every event once and in order, in whichever way they come', () => {
    for (let seed = 0; seed < 200; seed += 1) {
      const random = seeded(seed);
      const feed = at(0);
      const got: number[] = [];
      let head = 0;
      const hear = (seq: number): void => {
        const place = feed.place(seq);
        if (place === 'ahead') feed.missed(seq);
        if (place !== 'next') return;
        got.push(seq);
        feed.applied();
      };
      for (let i = 0; i < 100; i += 1) {
        const seq = 1 + Math.floor(random() * 40);
        head = Math.max(head, seq);
        hear(seq);
      }
      while (feed.missing > 0) hear((feed.cursor?.seq ?? 0) + 1);
      expect(got).toEqual(Array.from({ length: head }, (_, i) => i + 1));
    }
  });
});
