// What the page knows about an open conversation beside its messages: which message is at hand, being
// answered, edited or asked about. One for each open room.
import { notices, type Conversation, type Item, type RoomItem, type User } from '../../state/index.svelte.ts';
import { editsOf, type Edits } from './edits.svelte.ts';

export type Open =
  | { what: 'menu' | 'emoji'; item: Item; anchor: HTMLElement }
  | { what: 'delete'; item: Item }
  | { what: 'person'; user: User; anchor: HTMLElement };

export class Talk {
  readonly conv: Conversation;
  readonly me: User;
  readonly edits: Edits;
  /** The message to begin with; null: where the unread ones begin, or the end. */
  readonly at: number | null;
  #room: () => RoomItem | null;

  /** Key of the message whose actions show. */
  active = $state<string | null>(null);
  /** Key of the message that a jump led to. */
  flashed = $state<string | null>(null);
  open = $state.raw<Open | null>(null);

  /** Set by the list. */
  jump: (seq: number) => Promise<boolean> = async () => false;
  toBottom: () => Promise<void> = async () => {};
  /** Set by the composer. */
  focusComposer: () => void = () => {};

  constructor(conv: Conversation, me: User, room: () => RoomItem | null, at: number | null) {
    this.conv = conv;
    this.me = me;
    this.edits = editsOf(conv);
    this.#room = room;
    this.at = at;
  }

  get room(): RoomItem | null {
    return this.#room();
  }

  get moderates(): boolean {
    const role = this.room?.role ?? null;
    return role === 'moderator' || role === 'owner';
  }

  get mayPin(): boolean {
    return this.moderates || this.room?.kind === 'direct';
  }

  mayDelete(item: Item): boolean {
    return item.seq !== null && item.body !== null && (item.mine || this.moderates);
  }

  mayEdit(item: Item): boolean {
    return item.seq !== null && item.body !== null && item.mine && !item.encrypted;
  }

  answer(item: Item): void {
    if (item.seq === null || item.body === null) return;
    this.conv.replyTo = item.seq;
    this.focusComposer();
  }

  edit(item: Item): void {
    if (this.mayEdit(item)) this.edits.begin(item.id);
  }

  /** The last message of one's own that can be edited, for the arrow key. */
  editLast(): boolean {
    for (let at = this.conv.items.length - 1; at >= 0; at -= 1) {
      const item = this.conv.items[at];
      if (item?.kind === 'message' && this.mayEdit(item)) {
        this.edits.begin(item.id);
        return true;
      }
    }
    return false;
  }

  toggle(item: Item, emoji: string): void {
    if (item.seq === null) return;
    const mine = item.reactions.some((reaction) => reaction.emoji === emoji && reaction.mine);
    this.try(mine ? this.conv.unreact(item.seq, emoji) : this.conv.react(item.seq, emoji));
  }

  pin(item: Item): void {
    if (item.seq !== null) this.try(this.conv.pin(item.seq, !item.pinned));
  }

  async copy(item: Item): Promise<void> {
    try {
      await navigator.clipboard.writeText(item.body ?? '');
      notices.say('Copied');
    } catch {
      notices.say('The browser did not allow copying');
    }
  }

  /** Says what went wrong where there is no better place for it. */
  try(work: Promise<unknown>): void {
    work.catch((error: Error) => notices.say(error.message));
  }
}
