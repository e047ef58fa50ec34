// One open conversation, as the page reads it. Every getter reads the engine anew, after the topic
// said that something changed; lists are computed once for each version.
import type { Engine } from '../sync/engine.ts';
import type { Room } from '../sync/room.ts';
import { asRefusal } from '../sync/refusal.ts';
import { Draft } from './draft.ts';
import type { Host } from './host.svelte.ts';
import { gapItem, Items } from './items.ts';
import type { Conversation, Item, User } from './types.ts';

const GAP = gapItem();

export class OpenConversation implements Conversation {
  readonly room: string;
  readonly #host: Host;
  readonly #engine: Engine;
  readonly #items: Items;
  #cache: { version: number; items: readonly Item[] } | null = null;
  #pinCache: { version: number; items: readonly Item[] } | null = null;
  /** Where the read mark and the head were when the conversation was opened. */
  #opened: { read: number; head: number } | null = null;
  readonly #draft: Draft;
  #openError: string | null = null;
  /** It is being asked for. */
  #opening = false;
  /** The room was among the user's. */
  #known = false;

  constructor(host: Host, engine: Engine, items: Items, room: string) {
    this.#host = host;
    this.#engine = engine;
    this.#items = items;
    this.room = room;
    this.#draft = new Draft(host.env.memory, engine.account.id, room, () => host.topics.changed(`draft/${room}`));
  }

  /** Makes sure that the messages are there, or on their way. Changes nothing before a microtask is over. */
  touch(): void {
    if (this.#opening) return;
    this.#opening = true;
    queueMicrotask(() => {
      const opened = this.#engine.open(this.room).finally(() => (this.#opening = false));
      opened.then(
        () => {
          this.#openError = null;
          this.#known = true;
        },
        (error: unknown) => {
          this.#openError = asRefusal(error).message;
          this.#host.topics.changed(this.#topic);
        },
      );
    });
  }

  get items(): readonly Item[] {
    const version = this.#version;
    if (this.#cache?.version !== version) this.#cache = { version, items: this.#compute() };
    return this.#cache.items;
  }

  get loaded(): boolean {
    return this.#room?.timeline?.loaded ?? false;
  }

  get error(): string | null {
    const room = this.#room;
    if (room !== null) return room.error ?? (this.loaded ? null : room.fault);
    return this.#openError ?? (this.#known ? 'You are not in this room any more.' : null);
  }

  reload(): void {
    this.#openError = null;
    this.#known = false;
    this.#engine.retry(this.room);
    this.#host.topics.changed(this.#topic);
    this.touch();
  }

  get hasOlder(): boolean {
    return this.#room?.timeline?.hasOlder ?? false;
  }

  get loadingOlder(): boolean {
    const room = this.#room;
    return room !== null && this.#engine.history.isLoading(room, 'older');
  }

  async loadOlder(): Promise<void> {
    const room = this.#engine.room(this.room);
    if (room !== null) await this.#engine.history.older(room);
  }

  get hasNewer(): boolean {
    return this.loaded && !this.atHead;
  }

  get loadingNewer(): boolean {
    const room = this.#room;
    return room !== null && this.#engine.history.isLoading(room, 'newer');
  }

  async loadNewer(): Promise<void> {
    const room = this.#engine.room(this.room);
    if (room !== null) await this.#engine.history.newer(room);
  }

  get atHead(): boolean {
    return this.#room?.timeline?.atHead ?? true;
  }

  async toHead(): Promise<void> {
    const room = this.#engine.room(this.room);
    if (room?.timeline != null && !room.timeline.atHead) await this.#engine.history.latest(room);
  }

  get firstUnread(): number | null {
    const timeline = this.#room?.timeline;
    if (timeline == null || !timeline.loaded || this.#opened === null) return null;
    const { read, head } = this.#opened;
    for (const { entry } of timeline.entries) {
      if (entry.seq > head) return null;
      const counts = entry.kind === 'message' && entry.deleted === undefined;
      if (entry.seq > read && counts && entry.sender.id !== this.#engine.account.id) return entry.seq;
    }
    return null;
  }

  markOpened(): void {
    const room = this.#engine.room(this.room);
    this.#opened = room === null ? null : { read: room.tally.read, head: room.head };
    this.#host.topics.changed(this.#topic);
  }

  get pins(): readonly Item[] {
    const version = this.#version;
    if (this.#pinCache?.version !== version) {
      const pins = this.#engine.room(this.room)?.pins ?? [];
      this.#pinCache = { version, items: pins.map((entry) => this.#items.entry(entry)) };
    }
    return this.#pinCache.items;
  }

  loadPins(): Promise<void> {
    return this.#engine.loadPins(this.room);
  }

  get typing(): readonly User[] {
    this.#host.topics.version(`typing/${this.room}`);
    return this.#engine.typing(this.room);
  }

  send(body: string, replyTo: number | null = null): string {
    return this.#engine.send(this.room, body, replyTo);
  }

  async edit(seq: number, body: string): Promise<void> {
    await this.#engine.change(this.room, { type: 'edit', target: seq, body });
  }

  async remove(seq: number): Promise<void> {
    await this.#engine.change(this.room, { type: 'delete', target: seq });
  }

  async react(seq: number, emoji: string): Promise<void> {
    await this.#engine.change(this.room, { type: 'react', target: seq, emoji });
  }

  async unreact(seq: number, emoji: string): Promise<void> {
    await this.#engine.change(this.room, { type: 'unreact', target: seq, emoji });
  }

  async pin(seq: number, on: boolean): Promise<void> {
    await this.#engine.change(this.room, { type: 'pin', target: seq, on });
  }

  markRead(seq: number): void {
    this.#engine.markRead(this.room, seq);
  }

  lookAt(seq: number | null): void {
    const timeline = this.#engine.room(this.room)?.timeline;
    if (timeline != null) timeline.reader = seq;
  }

  leave(): void {
    const timeline = this.#engine.room(this.room)?.timeline;
    if (timeline == null) return;
    timeline.reader = null;
    if (!timeline.loaded || timeline.atHead) return;
    // Whoever comes back begins with the newest, and a stretch further up would be taken for it.
    timeline.drop();
    this.#host.topics.changed(this.#topic);
  }

  sayTyping(): void {
    this.#engine.sayTyping(this.room);
  }

  retry(id: string): void {
    this.#engine.outbox.retry(id);
  }

  discard(id: string): void {
    this.#engine.outbox.discard(id);
  }

  async jumpTo(seq: number): Promise<boolean> {
    const room = this.#engine.room(this.room);
    return room !== null && (await this.#engine.history.jumpTo(room, seq));
  }

  itemAt(seq: number): Item | null {
    const found = this.#room?.timeline?.at(seq);
    return found == null ? null : this.#items.entry(found.entry);
  }

  async peek(seq: number): Promise<Item | null> {
    const room = this.#engine.room(this.room);
    const entry = room === null ? null : await this.#engine.history.peek(room, seq).catch(() => null);
    return entry === null ? null : this.#items.entry(entry);
  }

  get draft(): string {
    this.#host.topics.version(`draft/${this.room}`);
    return this.#draft.text;
  }

  set draft(text: string) {
    this.#draft.text = text;
  }

  get replyTo(): number | null {
    this.#host.topics.version(`draft/${this.room}`);
    return this.#draft.replyTo;
  }

  set replyTo(seq: number | null) {
    this.#draft.replyTo = seq;
  }

  /** Another window changed what this browser keeps. */
  hearKept(name: string, before: string, now: string): void {
    // Whoever wrote here is signed out: that another window forgot a draft is no reason to keep this one's.
    if (this.#host.engine !== this.#engine) return;
    this.#draft.hear(name, before, now);
  }

  get #topic(): string {
    return `room/${this.room}`;
  }

  get #version(): number {
    return this.#host.topics.version(this.#topic);
  }

  get #room(): Room | null {
    void this.#version;
    return this.#engine.room(this.room);
  }

  #compute(): Item[] {
    const room = this.#engine.room(this.room);
    const timeline = room?.timeline;
    const entries = timeline?.entries ?? [];
    const items = entries.map((shown) => this.#items.entry(shown.entry));
    if (timeline?.loaded === true && this.#opened === null && room != null) {
      this.#opened = { read: room.tally.read, head: room.head };
    }
    const waiting = this.#waiting(items);
    // What comes between is on its way, or is read when one comes there.
    const isBehind = timeline?.loaded === true && !timeline.atHead;
    const isMissing = timeline?.loaded === true && (room?.feed.missing ?? 0) > 0;
    if (isBehind ? waiting.length > 0 : isMissing) items.push(GAP);
    items.push(...waiting);
    return items;
  }

  /**
   * What is to be sent, always last: also where the messages end before the present. What was sent, and is not among
   * them yet, follows only where they reach it.
   */
  #waiting(items: readonly Item[]): Item[] {
    const pending = this.#engine.pending(this.room);
    if (pending.length === 0) return [];
    const isAtHead = this.atHead;
    const shown = new Set(items.map((item) => item.id));
    const waiting = pending.filter((one) => !shown.has(one.stored.key) && (isAtHead || one.seq === null));
    return waiting.map((one) => this.#items.pending(one)).filter((item) => item !== null);
  }
}
