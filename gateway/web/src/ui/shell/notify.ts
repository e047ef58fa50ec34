// Tells of mentions and direct messages when the page is not in front.
import type { RoomItem, User } from '../../state/types.ts';

export interface Call {
  room: string;
  title: string;
  body: string;
}

/** How many calls for attention each room has; what grew since `before` is worth a notice. */
export class Calls {
  #seen: Map<string, number> | null = null;
  /** A person so that nobody passes for them. */
  readonly #fullNameOf: (user: User) => string;

  constructor(fullNameOf: (user: User) => string) {
    this.#fullNameOf = fullNameOf;
  }

  take(list: readonly RoomItem[]): Call[] {
    const now = new Map(list.map((room) => [room.id, callsOf(room)]));
    const before = this.#seen;
    this.#seen = now;
    if (before === null) return [];
    return list
      .filter((room) => callsOf(room) > (before.get(room.id) ?? 0))
      .map((room) => ({
        room: room.id,
        title: room.with === null ? room.title : this.#fullNameOf(room.with),
        body: room.with === null ? 'Somebody mentioned you.' : 'Wrote to you.',
      }));
  }
}

function callsOf(room: RoomItem): number {
  return room.kind === 'direct' && !room.muted ? room.unread : room.mentions;
}

/** All that wants attention, for the title of the page. */
export function totalCalls(list: readonly RoomItem[]): number {
  return list.reduce((sum, room) => sum + callsOf(room), 0);
}

/** Shows one; a press on it brings the page to the front, at the room. */
export function show(call: Call, open: (room: string) => void): void {
  try {
    const notice = new Notification(call.title, { body: call.body, tag: call.room, icon: '/favicon.svg' });
    notice.onclick = () => {
      window.focus();
      open(call.room);
      notice.close();
    };
  } catch {
    // Some phones have notifications for installed pages only.
  }
}
