import { describe, expect, it } from 'vitest';
import { fold, type Shown } from './fold.ts';
import { foldedLog, plain } from './testkit/oracle.ts';
import { seeded } from './testkit/random.ts';
import type { Event } from './wire.ts';

const ann = { id: 'a', username: 'ann' };
const bob = { id: 'b', username: 'bob' };
const base = (seq: number, sender = ann) => ({ seq, sender, sent_at: new Date(seq * 1_000).toISOString(), key: `k${seq}` });
const message: Event = { ...base(1), kind: 'message', body: 'hi', reply_to: 7 };
const shown: Shown = { entry: message, asOf: 1 };

const after = (...notes: Event[]) => notes.reduce(fold, shown);

describe('folding', () => {
  it('puts the last edit in the place of the body', () => {
    const edited = after(
      { ...base(2), kind: 'edit', target: 1, body: 'ho' },
      { ...base(3), kind: 'edit', target: 1, body: 'hu' },
    );
    expect(edited.entry).toMatchObject({ seq: 1, body: 'hu', edited_at: base(3).sent_at });
    expect(shown.entry.body).toBe('hi');
  });

  it('blanks what is deleted, and nothing comes after that', () => {
    const { entry } = after(
      { ...base(2, bob), kind: 'reaction', target: 1, emoji: 'x', on: true },
      { ...base(3), kind: 'pin', target: 1, on: true },
      { ...base(4, bob), kind: 'delete', target: 1 },
      { ...base(5), kind: 'edit', target: 1, body: 'back' },
      { ...base(6), kind: 'reaction', target: 1, emoji: 'x', on: true },
      { ...base(7), kind: 'pin', target: 1, on: true },
    );
    expect(entry).toEqual({ ...base(1), kind: 'message', reply_to: 7, deleted: { by: bob, at: base(4).sent_at } });
  });

  it('counts a reaction once for each user and takes it off again', () => {
    const on = (seq: number, sender = ann): Event => ({ ...base(seq, sender), kind: 'reaction', target: 1, emoji: 'x', on: true });
    const off = (seq: number, sender = ann): Event => ({ ...on(seq, sender), on: false });
    expect(after(on(2), on(3), on(4, bob)).entry.reactions).toEqual([{ emoji: 'x', users: [ann, bob] }]);
    expect(after(on(2), on(3, bob), off(4)).entry.reactions).toEqual([{ emoji: 'x', users: [bob] }]);
    expect(after(on(2), off(3), off(4)).entry.reactions).toEqual([]);
  });

  it('leaves aside what the entry reflects already, and what is about another one', () => {
    const of: Shown = { entry: message, asOf: 5 };
    const edit: Event = { ...base(5), kind: 'edit', target: 1, body: 'old' };
    expect(fold(of, edit)).toBe(of);
    expect(fold(of, { ...edit, seq: 6, target: 2 })).toBe(of);
    expect(fold(of, { ...edit, seq: 6 }).entry.body).toBe('old');
  });

  it('keeps the body when an edit was blanked', () => {
    expect(after({ ...base(2), kind: 'edit', target: 1 }).entry.body).toBe('hi');
  });

  it('agrees with a reader who looks at the whole log, for logs of every sort', () => {
    for (let seed = 0; seed < 100; seed += 1) {
      const random = seeded(seed);
      const pick = <T>(list: T[]): T => list[Math.floor(random() * list.length)] as T;
      const log: Event[] = [];
      for (let seq = 1; seq <= 40; seq += 1) {
        const of = { ...base(seq, pick([ann, bob])) };
        const target = Math.ceil(random() * seq);
        const isMessage = log[target - 1]?.kind === 'message';
        log.push(
          isMessage && random() < 0.7
            ? pick<Event>([
                { ...of, kind: 'edit', target, body: `e${seq}` },
                { ...of, kind: 'reaction', target, emoji: pick(['x', 'y']), on: random() < 0.6 },
                { ...of, kind: 'pin', target, on: random() < 0.5 },
                ...(random() < 0.3 ? [{ ...of, kind: 'delete' as const, target }] : []),
              ])
            : { ...of, kind: 'message', body: `m${seq}` },
        );
      }
      const folded = log
        .filter((event) => event.kind === 'message')
        .map((event) => log.reduce(fold, { entry: event, asOf: event.seq }).entry);
      expect(folded.map(plain)).toEqual(foldedLog(log).map(plain));
    }
  });
});
