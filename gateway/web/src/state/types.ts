// What the stores of `state/` look like to `ui/` and `admin/`. Only shapes: no code, no Svelte.
// Everything that is read from a store is reactive; the objects in lists keep their identity as
// long as nothing in them changes.

export type Role = 'member' | 'moderator' | 'owner';
export type RoomKind = 'public' | 'private' | 'direct' | 'lobby';
export type PresenceStatus = 'online' | 'away' | 'offline';

export interface User {
  id: string;
  username: string;
}

export interface Account extends User {
  admin: boolean;
}

/** How a person is shown; what they did not set is absent. */
export interface Profile extends User {
  readonly name?: string;
  readonly about?: string;
}

/**
 * What a call throws when it was refused or could not be made: `code` is the server's word
 * (`rate_limited`, `name_taken`, `forbidden` …) or `offline` when it was not reached; `message` is
 * a sentence for a person.
 */
export interface CallError extends Error {
  code: string;
  retryAfterMs: number | null;
}

export interface SessionStore {
  readonly phase: 'unknown' | 'signed-out' | 'signed-in';
  readonly user: Account | null;
  /** Why it is not known yet who is signed in, and when that is asked again (`Date.now()` scale); null if it is. */
  readonly wait: { readonly why: string; readonly until: number } | null;
  /** The sign-in ran out while the page was open: say so, and keep the page and its focus. */
  readonly expired: boolean;
  signIn(name: string, password: string): Promise<void>;
  /** Makes the account and signs in. */
  register(name: string, password: string): Promise<void>;
  signOut(): Promise<void>;
  changePassword(oldPassword: string, newPassword: string): Promise<void>;
}

export interface ConnectionStore {
  readonly state: 'connecting' | 'online' | 'offline' | 'waiting';
  /** Why it is not online, for a person; null while it is. */
  readonly why: string | null;
  /** When the next try begins (`Date.now()` scale), in state `waiting`. */
  readonly retryAt: number | null;
  /** Another window took this one's place; nothing is tried until `retryNow`. */
  readonly replaced: boolean;
  /** How many changes wait to be sent, in all rooms. */
  readonly unsent: number;
  retryNow(): void;
}

/** What people are called. Whoever is asked about is in view: their profile is read, and read again when it is old. */
export interface PeopleStore {
  /** What is known of somebody; null: nothing yet, or there is no such person. */
  profile(id: string): Profile | null;
  /** Their name; the username where there is none. */
  nameOf(user: User): string;
  /** "@ada" where `nameOf` says something else: beside it, so that nobody passes for another. */
  handleOf(user: User): string | null;
  /** Both in one, "Ada Lovelace (@ada)", for where there is only text; the name is closed in itself, whichever way it runs. */
  fullNameOf(user: User): string;
  /** The name of somebody who is mentioned, if it is known. */
  nameOfMention(username: string): string | null;
  /** Reads a profile again, however new it is. */
  refresh(id: string): void;
  /** Changes one's own; an empty text removes it. */
  save(change: { name?: string; about?: string }): Promise<void>;
}

export interface RoomItem {
  readonly id: string;
  readonly kind: RoomKind;
  /** The name; for a direct conversation the other one's. */
  readonly title: string;
  readonly topic: string;
  readonly slowModeSeconds: number;
  readonly role: Role | null;
  /** Messages of others after `read`; 100 stands for "100 or more". */
  readonly unread: number;
  readonly mentions: number;
  readonly head: number;
  readonly read: number;
  /** When the last event was (`Date.now()` scale). */
  readonly lastAt: number | null;
  readonly muted: boolean;
  readonly with: User | null;
}

/** A public room in the browser of rooms. */
export interface BrowseItem {
  readonly id: string;
  readonly kind: RoomKind;
  readonly title: string;
  readonly topic: string;
  readonly role: Role | null;
  readonly members: number | null;
}

/** Where the user was mentioned, and when (`Date.now()` scale). */
export interface MentionPlace {
  readonly room: string;
  readonly seq: number;
  readonly at: number;
}

export interface MentionItem extends MentionPlace {
  readonly id: string;
  readonly sender: User;
  /** null: deleted, or blanked by retention. */
  readonly body: string | null;
  readonly encrypted: boolean;
}

export interface MentionPage {
  /** Newest first. */
  items: MentionItem[];
  /** There are more: ask with it as `before`. */
  next: string | null;
}

export interface MentionsStore {
  /** Newest first. */
  readonly items: readonly MentionItem[];
  readonly loading: boolean;
  /** Why the last page that was asked for did not come, for a person. */
  readonly fault: string | null;
  /** There are older ones. */
  readonly more: boolean;
  /** Reads the newest. */
  load(): Promise<void>;
  loadOlder(): Promise<void>;
  /** There may be new ones: they are read soon. Cheap to call often. */
  refresh(): void;
  /** Nothing is heard any more. */
  close(): void;
}

export interface Member {
  readonly user: User;
  readonly role: Role;
}

export interface Page<T> {
  items: T[];
  /** There are more: ask with `after` = the id of the last one. */
  more: boolean;
}

export interface RoomsStore {
  /** Those with mentions first, then those with unread messages, then the rest, each by last activity. */
  readonly list: RoomItem[];
  /** The list was read at least once. */
  readonly loaded: boolean;
  byId(id: string): RoomItem | null;
  browse(prefix?: string, after?: string): Promise<Page<BrowseItem>>;
  /** Messages of others that mention the user, in rooms that the user is in. A page may be short while there are more. */
  mentions(before?: string): Promise<MentionPage>;
  /** One of them as it is now; null when its message cannot be had. */
  mention(place: MentionPlace): Promise<MentionItem | null>;
  create(name: string, kind: 'public' | 'private', topic?: string): Promise<RoomItem>;
  join(id: string): Promise<void>;
  leave(id: string): Promise<void>;
  openDirect(userId: string): Promise<RoomItem>;
  invite(room: string, userId: string): Promise<void>;
  kick(room: string, userId: string): Promise<void>;
  setRole(room: string, userId: string, role: Role): Promise<void>;
  rename(room: string, name: string): Promise<void>;
  setTopic(room: string, topic: string): Promise<void>;
  setSlowMode(room: string, seconds: number): Promise<void>;
  members(room: string, after?: string): Promise<Page<Member>>;
  /** Those whose username or name begins so. */
  findUsers(prefix: string): Promise<User[]>;
  /** Kept in this browser. */
  setMuted(room: string, muted: boolean): void;
}

export interface Reaction {
  readonly emoji: string;
  readonly count: number;
  readonly mine: boolean;
  readonly users: readonly User[];
}

/** What a line of the conversation is when it is not a message. */
export interface Notice {
  readonly change: 'joined' | 'left' | 'kicked' | 'role' | 'room';
  /** Whom it is about (member events). */
  readonly user: User | null;
  readonly role: Role | null;
  /** The room's name and topic from then on (room events). */
  readonly name: string | null;
  readonly topic: string | null;
}

export interface Item {
  /** Stable from the moment it was written until after it was sent: the key of `{#each}`. */
  readonly id: string;
  readonly seq: number | null;
  readonly kind: 'message' | 'member' | 'room' | 'gap-loading';
  readonly sender: User;
  /** `Date.now()` scale. */
  readonly sentAt: number;
  /** null: deleted, or blanked by retention. */
  readonly body: string | null;
  /** The server holds only ciphertext of it. */
  readonly encrypted: boolean;
  readonly replyTo: number | null;
  readonly editedAt: number | null;
  readonly deletedBy: User | null;
  readonly reactions: readonly Reaction[];
  readonly pinned: boolean;
  readonly status: 'sent' | 'sending' | 'queued' | 'failed';
  /** Why it failed or waits. */
  readonly error: string | null;
  readonly mentionsMe: boolean;
  readonly mine: boolean;
  /** Of kind `member` and `room`. */
  readonly notice: Notice | null;
}

export interface Conversation {
  readonly room: string;
  /** Ascending; unsent ones last. */
  readonly items: readonly Item[];
  /** The first page is there. */
  readonly loaded: boolean;
  /** Why the room cannot be read (it is gone, one is no longer in it, or its messages did not come); null if it can. */
  readonly error: string | null;
  /** Tries again what `error` says. */
  reload(): void;
  readonly hasOlder: boolean;
  readonly loadingOlder: boolean;
  loadOlder(): Promise<void>;
  /** After a jump far back the items end before the present. */
  readonly hasNewer: boolean;
  readonly loadingNewer: boolean;
  loadNewer(): Promise<void>;
  /** `!hasNewer`: the last item is the room's last. */
  readonly atHead: boolean;
  /** Back to the present after a jump. */
  toHead(): Promise<void>;
  /** The seq of the first unread message when the conversation was opened; null if there was none. */
  readonly firstUnread: number | null;
  /** Forgets the unread line, and sets it again from the read mark (when a conversation is opened). */
  markOpened(): void;
  /** Newest pin first. */
  readonly pins: readonly Item[];
  loadPins(): Promise<void>;
  /** Those who are typing now, without oneself. */
  readonly typing: readonly User[];
  /** Returns at once; the item shows what becomes of it. The key of the new item. */
  send(body: string, replyTo?: number | null): string;
  edit(seq: number, body: string): Promise<void>;
  remove(seq: number): Promise<void>;
  react(seq: number, emoji: string): Promise<void>;
  unreact(seq: number, emoji: string): Promise<void>;
  pin(seq: number, on: boolean): Promise<void>;
  /** The user has seen everything up to `seq`. Cheap to call often. */
  markRead(seq: number): void;
  /** Where the reader is, by seq; null: at the newest. What is near is kept, whatever arrives. Cheap to call often. */
  lookAt(seq: number | null): void;
  /** Nobody reads any more: it begins with the newest when it is opened again. */
  leave(): void;
  /** Cheap to call at every key press. */
  sayTyping(): void;
  /** `id` of a failed item. */
  retry(id: string): void;
  discard(id: string): void;
  /** Loads what is needed around `seq`; true when an item with it is there now. */
  jumpTo(seq: number): Promise<boolean>;
  /** The message with this seq if it is loaded (for the quote of a reply). */
  itemAt(seq: number): Item | null;
  /** Loads one message that is not among the items, for a quote; null when it cannot be had. */
  peek(seq: number): Promise<Item | null>;
  /** What is in the composer; kept in this browser, for all of its windows. */
  draft: string;
  /** The seq of the message that the draft answers; kept with it. */
  replyTo: number | null;
}

export interface PresenceStore {
  of(userId: string): PresenceStatus;
  readonly mine: 'online' | 'away';
  setMine(status: 'online' | 'away'): void;
  /** Replaces the earlier list; at most 200 are watched. */
  watch(ids: readonly string[]): void;
}

export interface SettingsStore {
  theme: 'system' | 'light' | 'dark';
  density: 'comfortable' | 'compact';
  sendWithEnter: boolean;
  notifications: boolean;
}

/** Something that went wrong away from where it was asked for. */
export interface Toast {
  readonly id: number;
  readonly text: string;
}

export interface NoticesStore {
  readonly list: readonly Toast[];
  say(text: string): void;
  dismiss(id: number): void;
}

/** One HTTP call with the session's credential, for pages that need more than the stores. */
export type Call = <T>(method: string, path: string, body?: unknown) => Promise<T>;
