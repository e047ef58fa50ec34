// Where the user was mentioned, as a list: read from the newest on, in pages, and read again from its head
// when somebody mentions the user. What is shown follows edits and deletes.
import { Gather } from '../sync/gather.ts';
import { mentionsUser } from '../sync/mentions.ts';
import { asRefusal } from '../sync/refusal.ts';
import type { Event } from '../sync/wire.ts';
import type { Heard, Host } from './host.svelte.ts';
import type { MentionItem, MentionsStore, RoomsStore } from './types.ts';

export class Mentions implements MentionsStore {
  readonly #host: Host;
  readonly #rooms: Pick<RoomsStore, 'mentions' | 'mention'>;
  readonly #head: Gather;
  readonly #heard: Heard = (room, event) => this.#hear(room.id, event);
  items: readonly MentionItem[] = $state.raw([]);
  loading = $state(false);
  fault: string | null = $state(null);
  #next: string | null = $state(null);
  /** Grows when the list begins anew: an older page of the list before is no part of it. */
  #turn = 0;

  constructor(host: Host, rooms: Pick<RoomsStore, 'mentions' | 'mention'>) {
    this.#host = host;
    this.#rooms = rooms;
    this.#head = new Gather(host.env.clock, () => this.#readHead());
    host.heard.add(this.#heard);
  }

  get more(): boolean {
    return this.#next !== null;
  }

  load(): Promise<void> {
    return this.#try(() => this.#head.now());
  }

  loadOlder(): Promise<void> {
    return this.#try(() => this.#readOlder());
  }

  refresh(): void {
    this.#head.ask();
  }

  close(): void {
    this.#host.heard.delete(this.#heard);
    this.#head.close();
  }

  async #try(read: () => Promise<void>): Promise<void> {
    this.loading = true;
    this.fault = null;
    try {
      await read();
    } catch (error) {
      this.fault = asRefusal(error).message;
    }
    this.loading = false;
  }

  async #readHead(): Promise<void> {
    const { items: head, next } = await this.#rooms.mentions();
    const shown = new Set(this.items.map((one) => one.id));
    if (next === null || !head.some((one) => shown.has(one.id))) {
      // All of it, or so many that there may be others in between.
      this.#turn += 1;
      this.items = head;
      this.#next = next;
    } else {
      const inHead = new Set(head.map((one) => one.id));
      const end = head.at(-1)?.at ?? 0;
      const older = this.items.filter((one) => one.at <= end && !inHead.has(one.id));
      // Those that were let go of, as the events of a long break are, are as they are now.
      const now = await Promise.all(older.map((one) => this.#rooms.mention(one)));
      this.items = [...head, ...now.filter((one) => one !== null)];
    }
    this.fault = null;
  }

  async #readOlder(): Promise<void> {
    const turn = this.#turn;
    const before = this.#next;
    if (before === null) return;
    const { items, next } = await this.#rooms.mentions(before);
    if (turn !== this.#turn) return;
    const shown = new Set(this.items.map((one) => one.id));
    this.items = [...this.items, ...items.filter((one) => !shown.has(one.id))];
    this.#next = next;
  }

  #hear(room: string, event: Event): void {
    const { kind, target } = event;
    if (kind !== 'message' && kind !== 'edit' && kind !== 'delete') return;
    const found = this.items.find((one) => one.room === room && one.seq === target);
    if (found !== undefined) void this.#again(found);
    const me = this.#host.present.account;
    const isCall = event.sender.id !== me.id && event.enc !== true && mentionsUser(event.body ?? '', me.username);
    if (isCall) this.refresh();
  }

  async #again(item: MentionItem): Promise<void> {
    const now = await this.#rooms.mention(item);
    if (now !== null) this.items = this.items.map((one) => (one.id === now.id ? now : one));
  }
}
