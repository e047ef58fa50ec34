// From what the engine holds to what a conversation shows. The same entry gives the same item, so that
// lists compare by identity.
import { mentionsUser } from '../sync/mentions.ts';
import type { Pending } from '../sync/pending.ts';
import type { Account, Entry, Reactions } from '../sync/wire.ts';
import type { Item, Notice, Reaction } from './types.ts';

export class Items {
  readonly #me: Account;
  readonly #ofEntry = new WeakMap<Entry, Item>();
  readonly #ofPending = new WeakMap<Pending, Item>();

  constructor(me: Account) {
    this.#me = me;
  }

  entry(entry: Entry): Item {
    let item = this.#ofEntry.get(entry);
    if (item === undefined) this.#ofEntry.set(entry, (item = this.#fromEntry(entry)));
    return item;
  }

  pending(pending: Pending): Item | null {
    const { change } = pending.stored;
    if (change.type !== 'send') return null;
    let item = this.#ofPending.get(pending);
    if (item === undefined) {
      item = {
        ...blank(),
        id: pending.stored.key,
        seq: pending.seq,
        sender: { id: this.#me.id, username: this.#me.username },
        sentAt: pending.stored.createdAt,
        body: change.body,
        replyTo: change.reply_to ?? null,
        status: pending.status,
        error: pending.note,
        mine: true,
      };
      this.#ofPending.set(pending, item);
    }
    return item;
  }

  #fromEntry(entry: Entry): Item {
    const mine = entry.sender.id === this.#me.id;
    const body = entry.kind === 'message' ? (entry.body ?? null) : null;
    const encrypted = entry.enc === true;
    return {
      ...blank(),
      // Keys are unique for each sender only; another's could be a copy of one of ours.
      id: mine ? entry.key : `s${entry.seq}`,
      seq: entry.seq,
      kind: entry.kind === 'member' || entry.kind === 'room' ? entry.kind : 'message',
      sender: entry.sender,
      sentAt: Date.parse(entry.sent_at),
      body,
      encrypted,
      replyTo: entry.reply_to ?? null,
      editedAt: entry.edited_at === undefined ? null : Date.parse(entry.edited_at),
      deletedBy: entry.deleted?.by ?? null,
      reactions: (entry.reactions ?? []).map((one) => this.#reaction(one)),
      pinned: entry.pinned ?? false,
      mentionsMe: !mine && !encrypted && body !== null && mentionsUser(body, this.#me.username),
      mine,
      notice: notice(entry),
    };
  }

  #reaction({ emoji, users }: Reactions): Reaction {
    return {
      emoji,
      count: users.length,
      mine: users.some((user) => user.id === this.#me.id),
      users,
    };
  }
}

/** Events of the room are on their way between those above and those below. */
export function gapItem(): Item {
  return { ...blank(), id: 'gap', kind: 'gap-loading' };
}

function notice(entry: Entry): Notice | null {
  if (entry.kind === 'member') {
    const change = entry.change ?? 'joined';
    return { change, user: entry.user ?? null, role: entry.role ?? null, name: null, topic: null };
  }
  if (entry.kind !== 'room') return null;
  return { change: 'room', user: null, role: null, name: entry.name ?? null, topic: entry.topic ?? null };
}

function blank(): Item {
  return {
    id: '', seq: null, kind: 'message', sender: { id: '', username: '' }, sentAt: 0, body: null, encrypted: false,
    replyTo: null, editedAt: null, deletedBy: null, reactions: [], pinned: false, status: 'sent', error: null,
    mentionsMe: false, mine: false, notice: null,
  };
}
