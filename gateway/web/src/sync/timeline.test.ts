import { describe, expect, it } from 'vitest';
import { RECENT_EVENTS_MAX } from './limits.ts';
import { foldedLog, plain } from './testkit/oracle.ts';
import { seeded } from './testkit/random.ts';
import { Timeline } from './timeline.ts';
import type { Entry, Event, Page } from './wire.ts';

const ann = { id: 'a', username: 'ann' };
const message = (seq: number): Event => ({
  seq, kind: 'message', sender: ann, sent_at: new Date(seq * 1_000).toISOString(), key: `k${seq}`, body: `m${seq}`,
});
const note = (seq: number, fields: Partial<Event>): Event => ({ ...message(seq), body: undefined, ...fields });
const page = (messages: Entry[], as_of: number, more = false): Page => ({ room: 'r', gen: 1, messages, more, as_of, first: 1 });
const seqs = (timeline: Timeline): number[] => timeline.entries.map((shown) => shown.entry.seq);

describe('the timeline', () => {
  it('does not apply twice what a page that is ahead of the socket reflects', () => {
    const timeline = new Timeline(1);
    const edited: Entry = { ...message(1), body: 'edited', edited_at: message(3).sent_at };
    expect(timeline.latest(page([edited, message(2), message(4)], 4))).toBe(true);
    timeline.apply(message(2));
    timeline.apply(note(3, { kind: 'edit', target: 1, body: 'edited' }));
    timeline.apply(message(4));
    timeline.apply(message(5));
    expect(seqs(timeline)).toEqual([1, 2, 4, 5]);
    expect(timeline.at(1)?.entry.body).toBe('edited');
  });

  it('mends a page that is behind the socket', () => {
    const timeline = new Timeline(2);
    timeline.apply(message(3));
    timeline.apply(note(4, { kind: 'edit', target: 1, body: 'edited' }));
    timeline.apply(note(5, { kind: 'delete', target: 3 }));
    expect(timeline.latest(page([message(1), message(2)], 2))).toBe(true);
    expect(seqs(timeline)).toEqual([1, 2, 3]);
    expect(timeline.at(1)?.entry.body).toBe('edited');
    expect(timeline.at(3)?.entry).toMatchObject({ deleted: { by: ann } });
    expect(timeline.at(3)?.entry.body).toBeUndefined();
    expect(timeline.atHead).toBe(true);
  });

  it('refuses a page that is too far behind', () => {
    const timeline = new Timeline(2);
    expect(timeline.latest(page([message(1)], 1))).toBe(false);
    for (let seq = 3; seq < 3 + 3 * RECENT_EVENTS_MAX; seq += 1) timeline.apply(message(seq));
    expect(timeline.latest(page([message(1), message(2)], 2))).toBe(false);
    expect(timeline.loaded).toBe(false);
  });

  it('ignores notes on what is not loaded, and has them with the page that loads it', () => {
    const timeline = new Timeline(10);
    timeline.latest(page([message(10)], 10, true));
    expect(timeline.apply(note(11, { kind: 'edit', target: 5, body: 'edited' }))).toBe(false);
    // Read before the edit was committed.
    expect(timeline.older(page([message(5)], 10))).toBe(true);
    expect(timeline.at(5)?.entry.body).toBe('edited');
    expect(timeline.hasOlder).toBe(false);
  });

  it('goes on elsewhere without appending what is new, and comes back', () => {
    const timeline = new Timeline(100);
    timeline.latest(page([message(100)], 100, true));
    expect(timeline.elsewhere(page([message(11), message(12)], 100, true), 10)).toBe(true);
    expect([timeline.lo, timeline.hi, timeline.atHead]).toEqual([11, 12, false]);
    timeline.apply(message(101));
    timeline.apply(note(102, { kind: 'pin', target: 11, on: true }));
    expect(seqs(timeline)).toEqual([11, 12]);
    expect(timeline.at(11)?.entry.pinned).toBe(true);
    // The rest, read before the last two events were.
    expect(timeline.newer(page([message(13), message(100)], 100))).toBe(true);
    expect(seqs(timeline)).toEqual([11, 12, 13, 100, 101]);
    expect(timeline.atHead).toBe(true);
  });

  it('does not show what it does not know, and goes on behind it', () => {
    const poll = (seq: number): Entry => ({ ...message(seq), kind: 'poll' as Entry['kind'] });
    const timeline = new Timeline(8);
    timeline.latest(page([poll(6), message(7), poll(8)], 8, true));
    expect([seqs(timeline), timeline.lo, timeline.hi]).toEqual([[7], 6, 8]);
    timeline.older(page([poll(4), poll(5)], 8, true));
    timeline.older(page([message(1), poll(2), message(3)], 8));
    timeline.apply(poll(9));
    timeline.apply(message(10));
    expect([seqs(timeline), timeline.lo, timeline.atHead]).toEqual([[1, 3, 7, 10], 1, true]);
  });

  it('drops what ends before the events that will be heard', () => {
    const timeline = new Timeline(0);
    timeline.latest(page([message(1)], 1));
    expect(timeline.begin(1)).toBe(true);
    expect(timeline.begin(3)).toBe(false);
    expect(timeline.loaded).toBe(false);
  });

  it('keeps the reader and its bound, whatever comes and is let go of', () => {
    const [most, kept] = [12, 8];
    for (let seed = 0; seed < 150; seed += 1) {
      const random = seeded(seed);
      let head = 40;
      const timeline = new Timeline(head, most, kept);
      const answer = (before: number | null, after: number): Page => {
        const all = Array.from({ length: head }, (_, at) => message(at + 1));
        const found = before === null ? all.slice(after) : all.slice(0, before - 1);
        return page(before === null ? found.slice(0, 4) : found.slice(-4), head, found.length > 4);
      };
      timeline.latest(answer(head + 1, 0));
      for (let step = 0; step < 80; step += 1) {
        const { entries } = timeline;
        if (random() < 0.5) timeline.reader = entries[Math.floor(random() * entries.length)]?.entry.seq ?? null;
        if (timeline.atHead && random() < 0.1) timeline.reader = null;
        const { reader } = timeline;
        const dice = random();
        if (dice < 0.4) timeline.apply(message(++head));
        else if (dice < 0.7) timeline.older(answer(timeline.lo, 0));
        else timeline.newer(answer(null, timeline.hi));
        expect(timeline.entries.length).toBeLessThanOrEqual(most);
        expect(seqs(timeline)).toEqual(Array.from({ length: timeline.hi - timeline.lo + 1 }, (_, at) => timeline.lo + at));
        if (reader !== null) expect(timeline.at(reader)).not.toBeNull();
      }
    }
  });

  it('keeps what is read over events that were not heard, until a page around it comes', () => {
    const timeline = new Timeline(9);
    timeline.latest(page([5, 6, 7, 8, 9].map(message), 9, true));
    timeline.reader = 7;
    timeline.skip(5_000);
    expect([seqs(timeline), timeline.stale, timeline.atHead]).toEqual([[5, 6, 7, 8, 9], true, false]);
    expect(timeline.around(4)).toBe(4);
    const edited = { ...message(7), body: 'edited' };
    expect(timeline.elsewhere(page([message(5), message(6), edited, message(8)], 5_000, true), 4)).toBe(true);
    expect([timeline.stale, timeline.at(7)?.entry.body, timeline.hi]).toEqual([false, 'edited', 8]);
    timeline.reader = null;
    timeline.skip(9_000);
    expect(timeline.loaded).toBe(false);
  });

  it('shows the log whatever pages come when', () => {
    for (let seed = 0; seed < 150; seed += 1) {
      const random = seeded(seed);
      const pick = (below: number): number => Math.floor(random() * below);
      const log: Event[] = [];
      const grow = (): void => {
        const seq = log.length + 1;
        const target = 1 + pick(seq);
        const targets = log[target - 1]?.kind === 'message';
        const kinds: Partial<Event>[] = [
          { kind: 'edit', target, body: `e${seq}` },
          { kind: 'reaction', target, emoji: 'x', on: random() < 0.6 },
          { kind: 'delete', target },
        ];
        log.push(targets && random() < 0.6 ? note(seq, kinds[pick(3)] ?? {}) : message(seq));
      };
      for (let i = 0; i < 30; i += 1) grow();
      let heard = 10 + pick(20);
      const timeline = new Timeline(heard);
      /** The server's answer, from a replica that knows only a part of the log. */
      const answer = (range: { before?: number; after?: number }): Page => {
        const known = log.slice(0, log.length - pick(4));
        const all = foldedLog(known);
        const { before, after } = range;
        if (after !== undefined) {
          const found = all.filter((entry) => entry.seq > after);
          return page(found.slice(0, 5), known.length, found.length > 5);
        }
        const found = all.filter((entry) => before === undefined || entry.seq < before);
        return page(found.slice(-5), known.length, found.length > 5);
      };
      for (let step = 0; step < 60; step += 1) {
        const dice = random();
        if (dice < 0.3) grow();
        else if (dice < 0.6 && heard < log.length) timeline.apply(log[heard++] as Event);
        else if (dice < 0.7) timeline.latest(answer({}));
        else if (dice < 0.85 && timeline.hasOlder) timeline.older(answer({ before: timeline.lo }));
        else if (dice < 0.9 && timeline.loaded) timeline.newer(answer({ after: timeline.hi }));
        else if (dice < 0.93) {
          const from = pick(heard);
          timeline.elsewhere(answer({ after: from }), from);
        }
        if (timeline.loaded && timeline.hi <= heard) {
          // Everything between lo and hi, with everything that was heard folded in (pages may know more).
          const wanted = log.filter((e) => e.kind === 'message' && e.seq >= timeline.lo && e.seq <= timeline.hi);
          expect(seqs(timeline)).toEqual(wanted.map((event) => event.seq));
        }
      }
      while (heard < log.length) timeline.apply(log[heard++] as Event);
      const shown = timeline.entries.map((one) => plain(one.entry));
      const truth = foldedLog(log).filter((entry) => timeline.loaded && entry.seq >= timeline.lo && entry.seq <= timeline.hi);
      expect(shown).toEqual(truth.map(plain));
    }
  });
});
