// The rooms as lists, and what can be done with one.
import type { Room } from '../sync/room.ts';
import type { Member as WireMember, Mentions as WireMentions, Room as WireRoom, User as WireUser } from '../sync/wire.ts';
import type { Host } from './host.svelte.ts';
import type {
  BrowseItem, Member, MentionItem, MentionPage, MentionPlace, Page, PeopleStore, Role, RoomItem, RoomsStore, User,
} from './types.ts';

const LIMIT = 100;
const FOUND_MAX = 20;
/** Mentions are fuller than rows of rooms, and the message of each is read by itself. */
const MENTIONS_LIMIT = 25;

export class Rooms implements RoomsStore {
  readonly #host: Host;
  readonly #people: Pick<PeopleStore, 'nameOf'>;
  #muted: ReadonlySet<string> = $state.raw(new Set<string>());
  #mutedOf: string | null = null;
  /** What was shown last of each room: what did not change stays the same object. */
  readonly #shown = new Map<string, RoomItem>();

  constructor(host: Host, people: Pick<PeopleStore, 'nameOf'>) {
    this.#host = host;
    this.#people = people;
  }

  readonly #sorted = $derived.by((): RoomItem[] => {
    this.#host.topics.version('rooms');
    const rooms = [...(this.#host.engine?.list.rooms.values() ?? [])].filter((room) => room.role !== null);
    return rooms.map((room) => this.#item(room)).sort(byUrgency);
  });

  get list(): RoomItem[] {
    return this.#sorted;
  }

  get loaded(): boolean {
    this.#host.topics.version('rooms');
    return this.#host.engine?.list.loaded ?? false;
  }

  byId(id: string): RoomItem | null {
    this.#host.topics.version('rooms');
    const room = this.#host.engine?.room(id);
    return room == null ? null : this.#item(room);
  }

  async browse(prefix = '', after?: string): Promise<Page<BrowseItem>> {
    const query = new URLSearchParams({ limit: String(LIMIT) });
    if (prefix !== '') query.set('prefix', prefix);
    if (after !== undefined) query.set('after', after);
    const page = await this.#call<{ rooms: WireRoom[]; more: boolean }>('GET', `/api/rooms/browse?${query}`);
    const items = page.rooms.map((room) => ({
      id: room.id,
      kind: room.kind,
      title: room.name ?? '',
      topic: room.topic ?? '',
      role: room.role ?? null,
      members: room.members ?? null,
    }));
    return { items, more: page.more };
  }

  async mentions(before?: string): Promise<MentionPage> {
    const query = new URLSearchParams({ limit: String(MENTIONS_LIMIT) });
    if (before !== undefined) query.set('before', before);
    const page = await this.#call<WireMentions>('GET', `/api/me/mentions?${query}`);
    const { list } = this.#host.present;
    // The page may have been opened here, before there was a list.
    const unknown = new Set(page.mentions.map((one) => one.room).filter((id) => !list.rooms.has(id)));
    await Promise.all([...unknown].map((id) => list.fetch(id).catch(() => null)));
    const items = await Promise.all(page.mentions.map(({ room, seq, at }) => this.mention({ room, seq, at: Date.parse(at) })));
    return { items: items.filter((item) => item !== null), next: page.next ?? null };
  }

  async mention({ room: id, seq, at }: MentionPlace): Promise<MentionItem | null> {
    const engine = this.#host.present;
    const room = engine.room(id);
    const entry = room === null ? null : await engine.history.peek(room, seq).catch(() => null);
    if (entry === null) return null;
    const { sender, body = null, enc } = entry;
    return { id: `${id}/${seq}`, room: id, seq, at, sender, body, encrypted: enc === true };
  }

  async create(name: string, kind: 'public' | 'private', topic?: string): Promise<RoomItem> {
    const key = this.#host.env.uuid();
    const meta = await this.#call<WireRoom>('POST', '/api/rooms', { key, name, kind, topic });
    return this.#put(meta);
  }

  async join(id: string): Promise<void> {
    await this.#call('POST', `/api/rooms/${id}/join`);
    await this.#host.present.list.fetch(id);
  }

  async leave(id: string): Promise<void> {
    await this.#call('POST', `/api/rooms/${id}/leave`);
    this.#host.present.list.membership(id, null);
  }

  async openDirect(userId: string): Promise<RoomItem> {
    const meta = await this.#call<WireRoom>('POST', '/api/direct', { user: userId });
    if (meta.with != null) return this.#put(meta);
    // A server that does not say whom it is with.
    const other = await this.#call<WireUser>('GET', `/api/users/${userId}`);
    return this.#put({ ...meta, with: other });
  }

  async invite(room: string, userId: string): Promise<void> {
    // Without a role: somebody may have made them more than a member meanwhile.
    await this.#call('PUT', `/api/rooms/${room}/members/${userId}`);
  }

  async kick(room: string, userId: string): Promise<void> {
    await this.#call('DELETE', `/api/rooms/${room}/members/${userId}`);
  }

  async setRole(room: string, userId: string, role: Role): Promise<void> {
    await this.#call('PUT', `/api/rooms/${room}/members/${userId}`, { role });
  }

  async rename(room: string, name: string): Promise<void> {
    await this.#change(room, { name });
  }

  async setTopic(room: string, topic: string): Promise<void> {
    await this.#change(room, { topic });
  }

  async setSlowMode(room: string, seconds: number): Promise<void> {
    await this.#change(room, { slow_mode_seconds: seconds });
  }

  async members(room: string, after?: string): Promise<Page<Member>> {
    const query = new URLSearchParams({ limit: String(LIMIT) });
    if (after !== undefined) query.set('after', after);
    const page = await this.#call<{ members: WireMember[]; more?: boolean }>('GET', `/api/rooms/${room}/members?${query}`);
    return { items: page.members, more: page.more ?? false };
  }

  async findUsers(prefix: string): Promise<User[]> {
    return prefix === '' ? [] : await this.#host.present.people.find(prefix, FOUND_MAX);
  }

  setMuted(room: string, muted: boolean): void {
    const next = new Set(this.#muted);
    if (muted) next.add(room);
    else next.delete(room);
    this.#muted = next;
    const user = this.#host.present.account.id;
    this.#mutedOf = user;
    this.#host.env.memory.set(`parlance.muted.${user}`, JSON.stringify([...next]));
  }

  /** Reads what this browser keeps for the user. */
  begin(user: string): void {
    if (this.#mutedOf === user) return;
    this.#mutedOf = user;
    this.#shown.clear();
    let muted: unknown = [];
    try {
      muted = JSON.parse(this.#host.env.memory.get(`parlance.muted.${user}`) ?? '[]');
    } catch {
      // It is then as if nothing was kept.
    }
    this.#muted = new Set(Array.isArray(muted) ? muted.filter((id): id is string => typeof id === 'string') : []);
  }

  #call<T>(method: string, path: string, body?: unknown): Promise<T> {
    return this.#host.http.call<T>(method, path, body);
  }

  async #change(room: string, change: Record<string, unknown>): Promise<void> {
    this.#host.present.put(await this.#call<WireRoom>('PATCH', `/api/rooms/${room}`, change));
  }

  #put(meta: WireRoom): RoomItem {
    const { list } = this.#host.present;
    const room = list.put(meta);
    // What makes or changes a room answers without its counts.
    if (meta.head === undefined) list.summarise(room);
    return this.#item(room);
  }

  #item(room: Room): RoomItem {
    const { meta, tally } = room;
    const other = meta.with == null ? null : this.#people.nameOf(meta.with);
    const item: RoomItem = {
      id: room.id,
      kind: meta.kind,
      title: meta.name ?? other ?? (meta.kind === 'lobby' ? 'lobby' : ''),
      topic: meta.topic ?? '',
      slowModeSeconds: meta.slow_mode_seconds ?? 0,
      role: room.role,
      unread: tally.unread,
      mentions: tally.mentions,
      head: room.head,
      read: tally.read,
      lastAt: room.lastAt,
      muted: this.#muted.has(room.id),
      with: meta.with ?? null,
    };
    const before = this.#shown.get(room.id);
    if (before !== undefined && isSame(before, item)) return before;
    this.#shown.set(room.id, item);
    return item;
  }
}

function isSame(one: RoomItem, other: RoomItem): boolean {
  const keys = Object.keys(other) as (keyof RoomItem)[];
  return keys.every((key) => (key === 'with' ? one.with?.id === other.with?.id : one[key] === other[key]));
}

function byUrgency(a: RoomItem, b: RoomItem): number {
  const urgency = (room: RoomItem): number => (room.mentions > 0 ? 2 : room.unread > 0 && !room.muted ? 1 : 0);
  return urgency(b) - urgency(a) || (b.lastAt ?? 0) - (a.lastAt ?? 0) || a.title.localeCompare(b.title);
}
