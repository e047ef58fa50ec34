// The members of a room as the page knows them, shared by the panel and by completion.
import { rooms, type Member } from '../../state/index.svelte.ts';

/** As many as are read without being asked for more. */
const FIRST_MAX = 400;

export class RoomMembers {
  items = $state.raw<Member[]>([]);
  more = $state(false);
  loading = $state(false);
  loaded = $state(false);
  fault = $state<string | null>(null);
  #room: string;
  #again = false;

  constructor(room: string) {
    this.#room = room;
  }

  /** Reads the first members unless that was done. */
  load(): void {
    if (!this.loaded && !this.loading) void this.#read([]);
  }

  /** The members changed. */
  refresh(): void {
    if (this.loading) this.#again = true;
    else if (this.loaded) void this.#read([]);
  }

  loadMore(): void {
    if (!this.loading && this.more) void this.#read(this.items);
  }

  async #read(held: Member[]): Promise<void> {
    this.loading = true;
    this.fault = null;
    try {
      let items = held;
      let more = true;
      while (more && items.length < held.length + FIRST_MAX) {
        const page = await rooms.members(this.#room, items.at(-1)?.user.id);
        items = [...items, ...page.items];
        more = page.more && page.items.length > 0;
      }
      this.items = items;
      this.more = more;
      this.loaded = true;
    } catch (error) {
      this.fault = (error as Error).message;
      this.loaded = true;
    }
    this.loading = false;
    if (this.#again) {
      this.#again = false;
      void this.#read([]);
    }
  }
}

const known = new Map<string, RoomMembers>();

/** The same object for the same room. */
export function membersOf(room: string): RoomMembers {
  let members = known.get(room);
  if (members === undefined) {
    members = new RoomMembers(room);
    known.set(room, members);
  }
  return members;
}
