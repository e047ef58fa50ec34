// The stores that the pages read. This is the outline: the sync engine is put behind it next.
import type {
  Call,
  ConnectionStore,
  Conversation,
  NoticesStore,
  PresenceStore,
  RoomsStore,
  SessionStore,
  SettingsStore,
} from './types.ts';

export type * from './types.ts';

const later = (): never => {
  throw new Error('the engine is not behind the stores yet');
};

export const session: SessionStore = $state({
  phase: 'unknown', user: null, expired: false,
  signIn: later, register: later, signOut: later, changePassword: later,
});
export const connection: ConnectionStore = $state({
  state: 'connecting', why: null, retryAt: null, replaced: false, unsent: 0, retryNow: later,
});
export const rooms: RoomsStore = $state({
  list: [], loaded: false, byId: () => null,
  browse: later, create: later, join: later, leave: later, openDirect: later, invite: later, kick: later,
  setRole: later, rename: later, setTopic: later, setSlowMode: later, members: later, findUsers: later,
  setMuted: later,
});
export const presence: PresenceStore = $state({ of: () => 'offline', mine: 'online', setMine: later, watch: later });
export const settings: SettingsStore = $state({
  theme: 'system', density: 'comfortable', sendWithEnter: true, notifications: false,
});
export const notices: NoticesStore = $state({ list: [], say: later, dismiss: later });

/** The conversation of a room; the same object for the same room. It begins to load when it is first asked for. */
export function conversation(_room: string): Conversation {
  return later();
}

/** One HTTP call with the session's credential; throws a `CallError`. */
export const call: Call = later;

/** Begins: finds out who is signed in, then connects. */
export function start(): void {}
