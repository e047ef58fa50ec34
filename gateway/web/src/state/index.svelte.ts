// The stores that the pages read, wired to the sync engine. See `types.ts` for what each of them is.
import { Gather } from '../sync/gather.ts';
import type { Event } from '../sync/wire.ts';
import { ConnectionState } from './connection.svelte.ts';
import { OpenConversation } from './conversation.svelte.ts';
import { theHost } from './host.svelte.ts';
import { Items } from './items.ts';
import { Mentions } from './mentions.svelte.ts';
import { Notices } from './notices.svelte.ts';
import { People } from './people.svelte.ts';
import { Presence } from './presence.svelte.ts';
import { Rooms } from './rooms.svelte.ts';
import { Session } from './session.svelte.ts';
import { Settings } from './settings.svelte.ts';
import type {
  Call, ConnectionStore, Conversation, Item, MentionsStore, NoticesStore, PeopleStore, PresenceStore, RoomItem, RoomsStore, SessionStore, SettingsStore,
} from './types.ts';

export type * from './types.ts';

const host = theHost();
const theSession = new Session(host);
const thePeople = new People(host);
const theRooms = new Rooms(host, thePeople);
const thePresence = new Presence(host);
const theNotices = new Notices();

export const session: SessionStore = theSession;
export const connection: ConnectionStore = new ConnectionState(host, theSession);
export const rooms: RoomsStore = theRooms;
export const people: PeopleStore = thePeople;
export const presence: PresenceStore = thePresence;
export const settings: SettingsStore = new Settings(host.env.memory);
export const notices: NoticesStore = theNotices;

/** One HTTP call with the session's credential; throws a `CallError`. */
export const call: Call = (method, path, body) => host.http.call(method, path, body);

/** A read that many events ask for: see `Gather`. */
export const gathered = (read: () => Promise<void>): Gather => new Gather(host.env.clock, read);

let conversations: { engine: object | null; items: Items; open: Map<string, OpenConversation> } | null = null;

/**
 * The conversation of a room; the same object for the same room. Its messages begin to load when it is
 * asked for; those of rooms that were not looked at for long are let go of and loaded again.
 */
export function conversation(room: string): Conversation {
  const engine = host.engine;
  if (engine === null) throw new Error('nobody is signed in');
  if (conversations?.engine !== engine) {
    conversations = { engine, items: new Items(engine.account), open: new Map() };
  }
  let found = conversations.open.get(room);
  if (found === undefined) {
    found = new OpenConversation(host, engine, conversations.items, room);
    conversations.open.set(room, found);
  }
  found.touch();
  return found;
}

/** Where the user was mentioned, for a page that shows it; to be closed with the page. */
export const mentions = (): MentionsStore => new Mentions(host, theRooms);

/**
 * Calls for each message of others as it comes, on this page for the first time: for notifications.
 * What came while this browser was away is told as well; `item.sentAt` says how old it is. Gives what ends it.
 */
export function onMessage(hear: (room: RoomItem, item: Item) => void): () => void {
  const heard = (of: { id: string }, event: Event): void => {
    const engine = host.engine;
    if (engine === null || event.kind !== 'message' || event.sender.id === engine.account.id) return;
    const room = theRooms.byId(of.id);
    if (room !== null) hear(room, new Items(engine.account).entry(event));
  };
  host.heard.add(heard);
  return () => host.heard.delete(heard);
}

/** Begins: finds out who is signed in, then connects. */
export function start(): void {
  host.onRefused = (refusal) => theNotices.say(refusal.message);
  theSession.onBegin = (user) => {
    theRooms.begin(user);
    thePresence.begin();
  };
  theSession.onForget = (user) => host.forget(user);
  theSession.start();
  const wake = (): void => {
    theSession.wake();
    host.engine?.wake();
  };
  addEventListener('online', wake);
  // What waits would only fail: nothing is tried before the network is there again.
  addEventListener('offline', () => host.engine?.connection.check());
  addEventListener('pageshow', (event) => {
    if (event.persisted) wake();
  });
  // Only other windows are told of what one of them keeps.
  addEventListener('storage', ({ key, oldValue, newValue }) => {
    if (key === null) return;
    for (const open of conversations?.open.values() ?? []) open.hearKept(key, oldValue ?? '', newValue ?? '');
  });
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') wake();
    thePresence.seen(document.visibilityState === 'visible');
  });
}
