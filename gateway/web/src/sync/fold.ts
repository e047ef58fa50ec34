// Folding: what an edit, delete, reaction or pin makes of the message that it targets. Pure, and
// the same rules as the server's `room/fold.rs`. Entries are never changed in place, so that who
// shows them sees by identity what is new.
import type { Entry, Event, Reactions, User } from './wire.ts';

/** An entry and the head that its state reflects: events up to `asOf` are in it already. */
export interface Shown {
  readonly entry: Entry;
  readonly asOf: number;
}

/** What has a place of its own in the conversation. The other kinds are notes on a message, or those of a newer server. */
export function isEntry(event: Event): boolean {
  return event.kind === 'message' || event.kind === 'member' || event.kind === 'room';
}

/** The entry after the note. A note that the entry reflects already changes nothing. */
export function fold(shown: Shown, note: Event): Shown {
  if (note.seq <= shown.asOf || note.target !== shown.entry.seq) return shown;
  const entry = folded(shown.entry, note);
  return { entry, asOf: note.seq };
}

function folded(entry: Entry, note: Event): Entry {
  if (note.kind === 'delete') {
    const { body: _body, enc: _enc, edited_at: _edited, reactions: _reactions, pinned: _pinned, ...rest } = entry;
    return { ...rest, deleted: { by: note.sender, at: note.sent_at } };
  }
  if (entry.deleted !== undefined) return entry;
  switch (note.kind) {
    case 'edit':
      // Without a body it was blanked: a later delete or the retention says what became of the message.
      if (entry.kind !== 'message' || note.body === undefined) return entry;
      return { ...entry, body: note.body, enc: note.enc, edited_at: note.sent_at };
    case 'reaction':
      if (note.emoji === undefined) return entry;
      return { ...entry, reactions: reacted(entry.reactions ?? [], note.emoji, note.sender, note.on === true) };
    case 'pin':
      return { ...entry, pinned: note.on === true };
    default:
      return entry;
  }
}

function reacted(before: readonly Reactions[], emoji: string, user: User, on: boolean): Reactions[] {
  const of = before.find((one) => one.emoji === emoji);
  if (on) {
    if (of === undefined) return [...before, { emoji, users: [user] }];
    if (of.users.some((one) => one.id === user.id)) return [...before];
    return before.map((one) => (one === of ? { emoji, users: [...one.users, user] } : one));
  }
  return before
    .map((one) => (one === of ? { emoji, users: one.users.filter((other) => other.id !== user.id) } : one))
    .filter((one) => one.users.length > 0);
}
