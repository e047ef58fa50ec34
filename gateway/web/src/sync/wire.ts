// The wire, as `gateway/protocol` defines it: frames of `parlance.v1` and bodies of HTTP. Shapes
// only. Fields and frame types that are not here are those of a newer server and are left aside.

export type Role = 'member' | 'moderator' | 'owner';
export type RoomKind = 'public' | 'private' | 'direct' | 'lobby';
export type PresenceStatus = 'online' | 'away' | 'offline';
export type Kind = 'message' | 'edit' | 'delete' | 'reaction' | 'pin' | 'member' | 'room';
export type MemberChange = 'joined' | 'left' | 'kicked' | 'role';

export interface User {
  id: string;
  username: string;
}

export interface Account extends User {
  admin?: boolean;
}

/** How a person is shown to others; what they did not set is absent. */
export interface Profile extends User {
  name?: string;
  about?: string;
}

/** What is to be another from now on; null removes it. */
export interface ProfileChange {
  name?: string | null;
  about?: string | null;
}

/** One event of a room's log. Which optional fields are there follows from `kind`. */
export interface Event {
  seq: number;
  kind: Kind;
  sender: User;
  sent_at: string;
  key: string;
  body?: string;
  reply_to?: number;
  thread?: number;
  enc?: boolean;
  target?: number;
  emoji?: string;
  on?: boolean;
  user?: User;
  change?: MemberChange;
  role?: Role;
  name?: string;
  topic?: string;
  version?: number;
}

export interface Reactions {
  emoji: string;
  users: User[];
}

/** One entry of history: an event, and in the folded view what became of the message since. */
export interface Entry extends Event {
  edited_at?: string;
  deleted?: { by: User; at: string };
  reactions?: Reactions[];
  pinned?: boolean;
}

export interface Page {
  room: string;
  gen: number;
  messages: Entry[];
  more: boolean;
  as_of: number;
  first: number;
  stale?: boolean;
}

export interface Posted {
  seq: number;
  sent_at: string;
  repeated?: boolean;
}

export interface Cursor {
  gen: number;
  seq: number;
}

export type RoomAnswer =
  | { gen: number; first: number; head: number }
  | { error: string; detail?: string; retry_after_ms?: number };

export interface Welcome {
  type: 'welcome';
  id?: number;
  session: string;
  user: Account;
  heartbeat_ms: number;
  rev: number;
}

/** The one success of a request; which fields it has follows from what was asked. */
export interface Ok extends Partial<Posted>, Partial<Page> {
  type: 'ok';
  id: number;
  rooms?: Record<string, RoomAnswer>;
}

export interface ErrorFrame {
  type: 'error';
  id?: number;
  code: string;
  detail: string;
  retry_after_ms?: number;
}

export interface RoomEvent extends Event {
  type: 'event';
  room: string;
  gen: number;
}

export interface Gap {
  type: 'gap';
  room: string;
  from: number;
  to: number;
}

export interface Me {
  type: 'me';
  rev: number;
  read?: { room: string; seq: number };
  room?: { id: string; role: Role | null };
}

export interface TypingFrame {
  type: 'typing';
  room: string;
  user: User;
}

export interface PresenceFrame {
  type: 'presence';
  user: string;
  status: PresenceStatus;
}

export interface Bye {
  type: 'bye';
  code: string;
  detail: string;
  retry_after_ms?: number;
}

export type ServerFrame =
  | Welcome | Ok | ErrorFrame | RoomEvent | Gap | Me | TypingFrame | PresenceFrame | Bye;

/** A change of a room's log, without its room and key. */
export type Change =
  | { type: 'send'; body: string; reply_to?: number }
  | { type: 'edit'; target: number; body: string }
  | { type: 'delete'; target: number }
  | { type: 'react' | 'unreact'; target: number; emoji: string }
  | { type: 'pin'; target: number; on: boolean };

export type ClientFrame =
  | { type: 'hello'; token?: string; session?: string }
  | { type: 'subscribe'; rooms: Record<string, Cursor | Record<string, never>> }
  | { type: 'unsubscribe'; rooms: string[] }
  | (Change & { room: string; key: string })
  | { type: 'history'; room: string; before?: number; after?: number; limit?: number; view?: 'folded' | 'log' }
  | { type: 'read'; room: string; seq: number }
  | { type: 'typing'; room: string }
  | { type: 'presence'; status?: PresenceStatus; watch?: string[] }
  | { type: 'ping' };

/** A room as the caller sees it. The fields from `head` on are those of the caller's list. */
export interface Room {
  id: string;
  name?: string | null;
  kind: RoomKind;
  topic?: string;
  slow_mode_seconds?: number;
  role?: Role | null;
  read?: number;
  head?: number;
  unread?: number;
  mentions?: number;
  last_at?: string | null;
  with?: User | null;
  members?: number;
}

export interface Member {
  user: User;
  role: Role;
}

/** Where the caller was mentioned. */
export interface Mention {
  room: string;
  seq: number;
  at: string;
}

export interface Mentions {
  mentions: Mention[];
  /** There are more: ask with it as `before`. */
  next?: string;
}

export const SUBPROTOCOL = 'parlance.v1';

/** Close codes of the server. */
export const CLOSE = {
  unauthenticated: 4001,
  badFrame: 4002,
  slowConsumer: 4003,
  rateLimited: 4004,
  goingAway: 4005,
  replaced: 4006,
} as const;

/** Whether a refusal passes by itself: repeat the same with the same key. One with a code of a newer server does if it names a time. */
export function isPassing(code: string, retryAfterMs?: number | null): boolean {
  return retryAfterMs != null || ['busy', 'rate_limited', 'unavailable', 'timeout', 'locked_out'].includes(code);
}
