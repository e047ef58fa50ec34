// How people are shown: their profiles by id, asked for when somebody comes into view. Asks are gathered into
// batches, one at a time. There is no word of the server when a profile changes: one that is old is asked
// for again when it is shown again, and shown as it was until then.
import { asked, BackOff } from './back-off.ts';
import type { Channel, Env } from './env.ts';
import type { Http } from './http.ts';
import { inTime } from './in-time.ts';
import { BACK_OFF_MAX, PEOPLE_BATCH, PEOPLE_FRESH, PEOPLE_GATHER, PEOPLE_MAX, PEOPLE_SPREAD, PEOPLE_TRIES, STORE_WAIT } from './limits.ts';
import type { KeptName, PeopleStore } from './people-store.ts';
import { asRefusal, passes, Refusal } from './refusal.ts';
import type { Profile, ProfileChange, User } from './wire.ts';

interface Known {
  /** null: the server knows nobody by this id. */
  profile: Profile | null;
  /** When the server said so; `BEFORE`: a page before this one was told. */
  at: number;
  /** The tick at which it was asked for: answers to earlier asks are older. */
  since: number;
}

const BEFORE = -Infinity;

export interface PeopleListener {
  /** What is known of a person is something else from now on. */
  named(user: User): void;
  /** The server takes this page for another account. */
  stranger(): void;
}

export class People {
  readonly #env: Env;
  readonly #http: Http;
  readonly #me: string;
  readonly #listener: PeopleListener;
  readonly #store: PeopleStore | null;
  readonly #channel: Channel;
  readonly #backOff: BackOff;
  /** The least recently used first. */
  readonly #known = new Map<string, Known>();
  /** Ids by username, in lower case. */
  readonly #ids = new Map<string, string>();
  /** Who is in view. */
  readonly #shown = new Set<string>();
  /** Who is to be asked for, and who is being asked for. */
  readonly #queue = new Set<string>();
  #asking: ReadonlySet<string> | null = null;
  /** What the disk has to be told. */
  #unkept = new Map<string, KeptName | null>();
  #tick = 0;
  #failures = 0;
  /** Nothing is asked before this; of it the server named what is up to `#notBefore`. */
  #restUntil = 0;
  #notBefore = 0;
  #cancelTimer: (() => void) | null = null;
  /** While it is there, who is in view and known waits for it, however old that is. */
  #cancelSpread: (() => void) | null = null;
  #closed = false;

  constructor(env: Env, http: Http, me: string, store: PeopleStore | null, listener: PeopleListener) {
    this.#env = env;
    this.#http = http;
    this.#me = me;
    this.#listener = listener;
    this.#store = store;
    this.#backOff = new BackOff(env.random);
    this.#channel = env.openChannel(`parlance/people/${me}`);
    this.#channel.onmessage = ({ data }) => this.#heard(data as Profile);
  }

  start(): void {
    void this.#load();
  }

  /** Nothing is asked or written any more. `forget`: no name stays on this machine. */
  async close(forget: boolean): Promise<void> {
    this.#closed = true;
    this.#cancelTimer?.();
    this.#cancelSpread?.();
    this.#channel.close();
    if (this.#store === null) return;
    if (forget) await inTime(this.#env.clock, STORE_WAIT, this.#store.clear().catch(() => {}));
    this.#store.close();
  }

  profile(id: string): Profile | null {
    const known = this.#known.get(id);
    if (known === undefined) return null;
    this.#known.delete(id);
    this.#known.set(id, known);
    return known.profile;
  }

  /** Whose username this is, among those who are known. */
  called(username: string): Profile | null {
    const id = this.#ids.get(username.toLowerCase());
    return id === undefined ? null : this.profile(id);
  }

  /** Somebody is looked at: what is not known of them, or is old, is asked for. Cheap to call often. */
  want(id: string): void {
    if (this.#isFresh(id) || this.#asking?.has(id) === true) return;
    const waits = this.#cancelSpread !== null && this.#shown.has(id) && this.#known.has(id);
    if (!waits) this.refresh(id);
  }

  /** Asks for it, however new it is. */
  refresh(id: string): void {
    if (this.#closed || this.#queue.size >= PEOPLE_MAX) return;
    this.#queue.add(id);
    this.#plan();
  }

  /** Somebody came into view, and stays there until `hide`. */
  show(id: string): void {
    this.want(id);
    this.#shown.add(id);
  }

  hide(id: string): void {
    this.#shown.delete(id);
  }

  /** The page woke: who is in view may be called something else by now. */
  again(): void {
    this.#cancelSpread?.();
    this.#cancelSpread = null;
    this.#rested();
    for (const id of this.#shown) this.want(id);
    this.#plan();
  }

  /** The server is reached again, and by many pages in the same moment: only who is not known at all is asked for at once. */
  reached(): void {
    this.#cancelSpread?.();
    this.#cancelSpread = this.#env.clock.after(this.#env.random() * PEOPLE_SPREAD, () => this.again());
    const unknown = [...this.#shown, ...this.#queue].filter((id) => !this.#known.has(id));
    if (unknown.length === 0) return;
    this.#rested();
    for (const id of unknown) this.want(id);
    this.#plan();
  }

  /** Those whose username or name begins so. Throws a `Refusal`. */
  async find(prefix: string, limit: number): Promise<Profile[]> {
    const begun = ++this.#tick;
    const query = new URLSearchParams({ prefix, limit: String(limit) });
    const { users } = await this.#http.call<{ users: Profile[] }>('GET', `/api/users?${query}`);
    if (this.#closed) return [];
    for (const user of users) this.#take(user.id, user, begun);
    this.#write();
    return users;
  }

  /** Changes one's own, for all windows of the browser. Throws a `Refusal`. */
  async save(change: ProfileChange): Promise<void> {
    const own = await this.#http.call<Profile>('PATCH', '/api/me', change);
    if (own.id !== this.#me) {
      // Another window signed somebody else in just now, and the server went by that.
      if (!this.#closed) this.#listener.stranger();
      throw new Refusal('stranger', `Another window signed in as ${own.username}, and this was saved as their profile. Look at it there.`);
    }
    if (this.#closed) return;
    this.#tell(own);
    this.#channel.postMessage(profileOf(own));
  }

  /**
   * One's own as the sign-in has it, unless more is known. It is asked for all the same when it is shown: a server of
   * the release before knows of no names there, and what is on disk may say more.
   */
  introduce(own: Profile): void {
    const known = this.#known.get(own.id);
    if (own.name == null || (known?.at ?? BEFORE) !== BEFORE) return;
    this.#put(own.id, { profile: profileOf(own), at: BEFORE, since: known?.since ?? 0 });
    this.#keep(own.id, own);
    this.#listener.named(own);
    this.#write();
  }

  /** Another window saved one's own. Its word may have been overtaken: the server has the last one. */
  #heard(own: Profile): void {
    if (own.id !== this.#me) return;
    this.#tell(own);
    this.refresh(own.id);
  }

  /** One's own, newer than whatever was asked for before. */
  #tell(own: Profile): void {
    this.#take(own.id, own, ++this.#tick);
    this.#write();
  }

  /** Whatever pause is not the server's is over. */
  #rested(): void {
    this.#failures = 0;
    this.#restUntil = this.#notBefore;
    this.#cancelTimer?.();
    this.#cancelTimer = null;
  }

  #isFresh(id: string): boolean {
    const at = this.#known.get(id)?.at ?? BEFORE;
    const now = this.#env.clock.now();
    // A time in the future is of a clock that was set back.
    return at > now - PEOPLE_FRESH && at <= now;
  }

  #plan(): void {
    if (this.#closed || this.#asking !== null || this.#cancelTimer !== null || this.#queue.size === 0) return;
    const { clock } = this.#env;
    this.#cancelTimer = clock.after(Math.max(PEOPLE_GATHER, this.#restUntil - clock.now()), () => {
      this.#cancelTimer = null;
      void this.#ask();
    });
  }

  async #ask(): Promise<void> {
    const ids = [...this.#queue].slice(0, PEOPLE_BATCH);
    for (const id of ids) this.#queue.delete(id);
    this.#asking = new Set(ids);
    const begun = ++this.#tick;
    try {
      const { users } = await this.#http.call<{ users: Profile[] }>('GET', `/api/users?ids=${ids.join(',')}`);
      if (this.#closed) return;
      this.#backOff.reset();
      this.#failures = 0;
      const found = new Map(users.map((user) => [user.id, user]));
      for (const id of ids) this.#take(id, found.get(id) ?? null, begun);
      this.#write();
    } catch (error) {
      this.#failed(ids, asRefusal(error));
    }
    this.#asking = null;
    this.#plan();
  }

  /** Nobody waits, so nobody hears of it: the names that were shown stay. */
  #failed(ids: readonly string[], refusal: Refusal): void {
    this.#failures += 1;
    const isOver = !passes(refusal) || this.#failures >= PEOPLE_TRIES;
    if (isOver) this.#queue.clear();
    else for (const id of ids) this.#queue.add(id);
    // Who is asked for after the pause gets as many tries.
    if (isOver) this.#failures = 0;
    const now = this.#env.clock.now();
    this.#notBefore = now + asked(refusal.retryAfterMs);
    const pause = this.#backOff.next(refusal.retryAfterMs ?? 0);
    this.#restUntil = now + (isOver ? Math.max(pause, BACK_OFF_MAX) : pause);
  }

  /** What the server answered to what was asked at a tick. */
  #take(id: string, answer: Profile | null, since: number): void {
    const known = this.#known.get(id);
    if (known !== undefined && known.since > since) return;
    const profile = answer === null ? null : profileOf(answer);
    this.#put(id, { profile, at: this.#env.clock.now(), since });
    const before = known?.profile ?? null;
    if (before?.name !== profile?.name) this.#keep(id, profile);
    const isSame = before?.name === profile?.name && before?.about === profile?.about;
    const user = profile ?? before;
    if (!isSame && user !== null) this.#listener.named(user);
  }

  #put(id: string, known: Known): void {
    this.#known.delete(id);
    this.#known.set(id, known);
    if (known.profile !== null) this.#ids.set(known.profile.username.toLowerCase(), id);
    for (const [oldest, { profile }] of this.#known) {
      if (this.#known.size <= PEOPLE_MAX) return;
      // They would be asked for again at once.
      if (this.#shown.has(oldest)) continue;
      this.#known.delete(oldest);
      if (profile === null) continue;
      this.#ids.delete(profile.username.toLowerCase());
      if (profile.name !== undefined) this.#unkept.set(oldest, null);
    }
  }

  #keep(id: string, profile: Profile | null): void {
    const { name } = profile ?? {};
    const at = this.#env.clock.now();
    this.#unkept.set(id, profile === null || name === undefined ? null : { user: this.#me, id, username: profile.username, name, at });
  }

  #write(): void {
    const names = this.#unkept;
    this.#unkept = new Map();
    // Without a disk, names come a moment later.
    this.#store?.write(this.#me, names).catch(() => {});
  }

  async #load(): Promise<void> {
    const kept = await this.#store?.load(this.#me).catch((): KeptName[] => []);
    if (kept === undefined || this.#closed) return;
    for (const { id, username, name } of kept) {
      const known = this.#known.get(id);
      if (known !== undefined) this.#keep(id, known.profile);
      else if (this.#known.size < PEOPLE_MAX) {
        this.#put(id, { profile: { id, username, name }, at: BEFORE, since: 0 });
        this.#listener.named({ id, username });
      }
    }
    this.#write();
  }
}

/** Without what an answer has beside it. */
function profileOf({ id, username, name, about }: Profile): Profile {
  return { id, username, ...(name == null ? {} : { name }), ...(about == null ? {} : { about }) };
}
