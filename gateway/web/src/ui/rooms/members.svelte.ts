// The members of a room as the page knows them, shared by the panel and by completion.
import { gathered, rooms, session, type Member } from '../../state/index.svelte.ts';

/** As many as are read without being asked for more. */
const FIRST_MAX = 400;
/** So many are known by name where all are gone through, the others by username: fewer than there are profiles in memory. */
export const NAMED_MAX = 1_000;

export class RoomMembers {
  items = $state.raw<Member[]>([]);
  more = $state(false);
  loading = $state(false);
  loaded = $state(false);
  fault = $state<string | null>(null);
  /** The last read did not fail: who is not in the list up to its end is not in the room. */
  #sure = $state(false);
  #room: string;
  readonly #gather = gathered(() => this.#readAnew());

  constructor(room: string) {
    this.#room = room;
  }

  /** Reads the first members unless that was done. */
  load(): void {
    if ((!this.loaded || this.fault !== null) && !this.loading) void this.#gather.now();
  }

  /** Whether the list tells if this user is in the room; it ascends by their ids. */
  tells(user: string): boolean {
    return this.#sure && (!this.more || user <= (this.items.at(-1)?.user.id ?? ''));
  }

  /** The members changed. In a room that many come to at once it is not read for each of them. */
  refresh(): void {
    if (this.loading || this.loaded || this.fault !== null) this.#gather.ask();
  }

  loadMore(): void {
    if (!this.loading && this.more) void this.#read(this.items);
  }

  async #readAnew(): Promise<void> {
    // More of the list is being read: after that.
    if (this.loading) this.#gather.ask();
    else await this.#read([]);
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
      this.#sure = true;
    } catch (error) {
      this.fault = (error as Error).message;
      this.#sure = false;
    }
    this.loading = false;
  }
}

const known = new Map<string, RoomMembers>();
/** Who may know them. */
let knownBy: string | null = null;

/** The same object for the same room, as long as the same user is signed in. */
export function membersOf(room: string): RoomMembers {
  const user = session.user?.id ?? null;
  if (user !== knownBy) {
    known.clear();
    knownBy = user;
  }
  let members = known.get(room);
  if (members === undefined) {
    members = new RoomMembers(room);
    known.set(room, members);
  }
  return members;
}
