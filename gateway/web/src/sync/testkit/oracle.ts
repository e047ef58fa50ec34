// What a reader must see of a log: each message looked at by itself, over the whole log. Written apart
// from `fold.ts`, which it judges.
import type { Entry, Event } from '../wire.ts';

/** What has a place of its own, for a client that knows so many kinds. */
export const KINDS: readonly string[] = ['message', 'member', 'room'];

export function foldedLog(log: readonly Event[], kinds = KINDS): Entry[] {
  const notes = new Map<number, Event[]>();
  for (const event of log) if (event.target !== undefined) notes.set(event.target, [...(notes.get(event.target) ?? []), event]);
  return log
    .filter((event) => kinds.includes(event.kind))
    .map((event) => foldedOne(event, notes.get(event.seq) ?? []));
}

function foldedOne(event: Event, notes: readonly Event[]): Entry {
  const stone = notes.filter((note) => note.kind === 'delete').at(-1);
  const entry: Entry = { ...event };
  if (stone !== undefined) {
    delete entry.body;
    delete entry.enc;
    entry.deleted = { by: stone.sender, at: stone.sent_at };
    return entry;
  }
  const edit = notes.filter((note) => note.kind === 'edit').at(-1);
  if (edit !== undefined) {
    entry.body = edit.body;
    entry.edited_at = edit.sent_at;
  }
  if (notes.filter((note) => note.kind === 'pin').at(-1)?.on === true) entry.pinned = true;
  const reactions: { emoji: string; users: Event['sender'][] }[] = [];
  for (const note of notes.filter((one) => one.kind === 'reaction')) {
    const at = reactions.findIndex((one) => one.emoji === note.emoji);
    const of = reactions[at];
    if (note.on === true) {
      if (of === undefined) reactions.push({ emoji: note.emoji ?? '', users: [note.sender] });
      else if (!of.users.some((user) => user.id === note.sender.id)) of.users.push(note.sender);
    } else if (of !== undefined) {
      of.users = of.users.filter((user) => user.id !== note.sender.id);
      if (of.users.length === 0) reactions.splice(at, 1);
    }
  }
  if (reactions.length > 0) entry.reactions = reactions;
  return entry;
}

/** The same for both sides: what is absent, empty or false is left out. */
export function plain(entry: Entry): unknown {
  const { pinned, reactions, edited_at, deleted, enc, body, ...rest } = entry;
  return JSON.parse(
    JSON.stringify({
      ...rest,
      body: body ?? null,
      pinned: pinned === true,
      reactions: (reactions ?? []).map((one) => ({ emoji: one.emoji, users: one.users.map((user) => user.id) })),
      edited_at: edited_at ?? null,
      deleted: deleted ?? null,
      enc: enc === true,
    }),
  );
}
