// Changes on their way: kept on disk until they are answered, sent in order, repeated with the same
// key over any number of sockets and pages.
//
// Several windows. Each has a socket of its own and sends what was written in it; the others show it.
// (One socket for all windows would hang on one of them: browsers slow down and freeze those that are
// not seen, and the window in front would wait for a hidden one.) A window holds a lock for as long as
// it lives. The others wait for the locks of those whose changes they see on disk, and who gets one
// takes the changes over, in one transaction: so a closed or reloaded window's changes go on at once,
// and no two windows send the same key. A window can end before it told of what it wrote to disk, so the
// disk is looked at now and then. What is not on disk, or on one that takes nothing any more, is taken over
// from the memory of who was told of it. Where leases stand in for locks, a lease that ran out does not say that its
// window is gone: it is asked before. A page that stood still, and whose lease ran out, looks on disk before it sends
// again. Only where the disk fails it then as well, a key can be sent twice, and the server takes it once.
//
// Order: within a window and room, the order in which they were made; messages among themselves, and what
// is done to messages. A change that is not on disk yet, or was refused for now, holds up those behind it.
// One that failed for good does not. When what a window left behind is sent by several others (a disk that
// fails at times, or a lease that ran out, can lead to that), each waits for what was made there before.
import { Changes } from './changes.ts';
import type { Connection } from './connection.ts';
import type { Env } from './env.ts';
import { type Estate, Heirs } from './heirs.ts';
import { inTime } from './in-time.ts';
import { ANSWER_WAIT, OUTBOX_LOOK, RETRY_AFTER_MAX, RETRY_WAIT, STORE_WAIT } from './limits.ts';
import { OutboxStore, type Stored } from './outbox-store.ts';
import { AllPending, laneOf, type Pending } from './pending.ts';
import { Refusal } from './refusal.ts';
import { TakenBack } from './taken-back.ts';
import { Tenure } from './tenure.ts';
import { type Change, type ErrorFrame, type Event, isPassing, type Ok } from './wire.ts';
import { Words, type WordsListener } from './words.ts';

export interface OutboxListener {
  /** Whether the room's events up to `seq` were heard or will not be. */
  heard(room: string, seq: number): boolean;
  /** What `pending` gives for the room changed. */
  changed(room: string): void;
  /** A change that is not shown was refused, and who asked for it is gone. */
  refused(change: Change, refusal: Refusal): void;
}

interface Deferred {
  resolve(seq: number): void;
  reject(refusal: Refusal): void;
}

export class Outbox {
  readonly #env: Env;
  readonly #user: string;
  readonly #window: string;
  readonly #connection: Connection;
  readonly #listener: OutboxListener;
  readonly #store: OutboxStore;
  readonly #words: Words;
  readonly #tenure: Tenure;
  readonly #changes = new Changes();
  readonly #pending: AllPending;
  readonly #asked = new Map<string, Deferred>();
  /** Keys that are over: an older word about them, from disk or another window, is not news. */
  readonly #over = new Set<string>();
  /** The same, for windows that come later. */
  readonly #takenBack: TakenBack;
  /** Keys that their window did not get on disk. */
  readonly #unkept = new Set<string>();
  readonly #heirs: Heirs;
  #closed = false;
  readonly #opened: Promise<void>;
  #lastOrder = 0;
  #cancelTimer = (): void => {};
  #cancelLook = (): void => {};

  constructor(env: Env, user: string, connection: Connection, listener: OutboxListener) {
    this.#env = env;
    this.#user = user;
    this.#window = env.uuid();
    this.#connection = connection;
    this.#listener = listener;
    this.#store = new OutboxStore(env);
    this.#takenBack = new TakenBack(env, user);
    this.#pending = new AllPending(this.#window);
    this.#tenure = new Tenure(env, this.#window, () => this.#store.load(user));
    this.#heirs = new Heirs(env, user, this.#window, this.#store, this.#estate);
    this.#words = new Words(env, user, this.#window, this.#heard);
    this.#opened = this.#open();
  }

  /** What was on disk is shown and, where it is this window's, sent. */
  get opened(): Promise<void> {
    return this.#opened;
  }

  /** How many are not answered, failed ones aside. */
  get unsent(): number {
    return this.#pending.unsent;
  }

  /** The messages of a room that are on their way, in order. */
  pending(room: string): Pending[] {
    return this.#pending.messages(room);
  }

  /** Says something; its key. */
  send(room: string, body: string, replyTo: number | null): string {
    const change: Change = replyTo === null ? { type: 'send', body } : { type: 'send', body, reply_to: replyTo };
    return this.#add(room, change).key;
  }

  /** Makes another change; resolves with its seq. */
  change(room: string, change: Change): Promise<number> {
    return new Promise((resolve, reject) => {
      const { key } = this.#add(room, change);
      this.#asked.set(key, { resolve, reject });
    });
  }

  /** Sends a failed one again, with the same key and in its old place. */
  retry(key: string): void {
    const found = this.#pending.get(key);
    if (found?.status !== 'failed') return;
    void this.#store
      .reclaim(key, this.#window)
      .catch(() => null)
      // What is this window's own goes again even when the disk does not know it.
      .then((stored) => stored ?? (found.stored.owner === this.#window ? found.stored : null))
      .then((stored) => {
        if (stored === null || this.#pending.get(key)?.status !== 'failed') return;
        this.#enter({ ...stored, state: 'queued', error: null }, { tell: true, ready: true });
      });
  }

  /** Takes a failed one away, or one of this window that is not on the wire. */
  discard(key: string): void {
    const found = this.#pending.get(key);
    if (found === undefined || found.status === 'sending' || found.status === 'sent') return;
    if (found.status === 'queued' && found.stored.owner !== this.#window) return;
    this.#finish(key, null);
  }

  /** An event of the user was heard: if it is one of these, it is done. */
  seen(room: string, event: Event): void {
    const one = event.sender.id === this.#user ? this.#pending.get(event.key) : undefined;
    if (one === undefined || one.stored.room !== room) return;
    if (one.seq === null) return this.#finish(event.key, event.seq, true);
    this.#pending.delete(event.key);
    this.#listener.changed(room);
  }

  /** Everything up to `seq` was heard or skipped: what waits only for its event waits no more. */
  reached(room: string, seq: number): void {
    for (const one of this.#pending.all) {
      if (one.stored.room !== room || one.seq === null || one.seq > seq) continue;
      this.#pending.delete(one.stored.key);
      this.#listener.changed(room);
    }
  }

  /** The socket is gone. */
  disconnected(): void {
    this.#changes.disconnected();
    for (const one of this.#pending.all) this.#show(one, 'queued', null);
  }

  /** Sends what is due, and plans when to look again. */
  pump(): void {
    this.#cancelTimer();
    if (this.#connection.state !== 'online' || this.#closed) return;
    const now = this.#env.clock.now();
    if (!this.#tenure.isSure) return this.#makeSure();
    for (const key of this.#changes.due(now, this.#pending.waits())) {
      const one = this.#pending.get(key);
      if (one === undefined) continue;
      // A socket can end at any write.
      if (this.#connection.state !== 'online') return;
      const { room, change } = one.stored;
      this.#show(one, 'sending', null);
      this.#connection.request({ ...change, room, key }, (answer) => this.#answered(key, answer), ANSWER_WAIT);
    }
    const deadline = this.#changes.deadline(now);
    if (deadline !== null) this.#cancelTimer = this.#env.clock.after(deadline - now, () => this.pump());
  }

  /** It stood still, or its disk failed: others may have taken over what is this window's. */
  #makeSure(): void {
    const before = new Map(this.#pending.all.map((one) => [one.stored.key, one.stored]));
    void this.#tenure.check((onDisk) => {
      for (const stored of onDisk ?? []) {
        const { key, owner } = stored;
        const isMine = this.#pending.isOwn(key) && this.#pending.get(key)?.stored === before.get(key);
        if (isMine && owner !== this.#window && !this.#unkept.has(key)) this.#enter(stored, { tell: false, ready: true });
      }
      this.pump();
    });
  }

  /** Finds out what nobody told of, and brings on disk or off it what did not get there. */
  async look(): Promise<void> {
    this.#cancelLook();
    await this.#opened;
    const before = new Set(this.#pending.all.map((one) => one.stored.key));
    const onDisk = await this.#store.load(this.#user).catch(() => null);
    if (this.#closed) return;
    for (const stored of onDisk ?? []) this.#compare(stored);
    const keys = new Set(onDisk?.map((stored) => stored.key));
    if (onDisk !== null) this.#takenBack.sweep(keys);
    for (const { key, owner } of this.#pending.others) {
      if (onDisk !== null && before.has(key) && !keys.has(key) && !this.#unkept.has(key)) this.#lost(key);
      else this.#heirs.await(owner);
    }
    // What the disk did not take once it may take now; without that it would end with its window.
    for (const { stored, seq } of this.#pending.all) {
      const { key, owner } = stored;
      const isHere = owner === this.#window && seq === null;
      if (onDisk !== null && isHere && before.has(key) && !keys.has(key)) void this.#keep(stored);
    }
    this.#planLook();
  }

  /** What is on disk with what is known here. */
  #compare(stored: Stored): void {
    const known = this.#pending.get(stored.key)?.stored;
    // It could not be taken away, and other windows may have read it since.
    if (this.#over.has(stored.key)) return this.#remove(stored.key, null);
    if (known === undefined) return this.#enter(stored, { tell: false, ready: true });
    if (stored.owner !== this.#window || known.owner !== this.#window || known.state === stored.state) return;
    void this.#store.put(known).catch(() => {});
    this.#tell(known);
  }

  #planLook(): void {
    this.#cancelLook();
    this.#cancelLook = this.#env.clock.after(OUTBOX_LOOK, () => void this.look());
  }

  /** Ends this window's part; what it owns is for the others, or for the next page. A disk that hangs does not hold it up. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#heirs.close();
    this.#cancelTimer();
    this.#cancelLook();
    this.#words.close();
    for (const asked of this.#asked.values()) asked.reject(Refusal.offline('The page was closed.'));
    this.#asked.clear();
    await inTime(this.#env.clock, STORE_WAIT, this.#opened);
    this.#tenure.end();
    this.#store.close();
  }

  /** The same, and forgets everything: the user signs out. */
  async closeAndForget(): Promise<void> {
    const keys = this.#pending.all.map((one) => one.stored.key);
    for (const key of keys) {
      // Also what still waits to be written: it must not get on disk after the rest is gone.
      this.#over.add(key);
      this.#takenBack.add(key);
      this.#words.gone(key, null);
    }
    const cleared = this.#store.clear(this.#user).then(
      () => {
        for (const key of keys) this.#takenBack.forget(key);
      },
      () => {},
    );
    await inTime(this.#env.clock, STORE_WAIT, cleared);
    await this.close();
  }

  async #open(): Promise<void> {
    try {
      for (const stored of await this.#tenure.begin()) this.#enter(stored, { tell: false, ready: true });
    } catch {
      // Without disk or locks it works for as long as the page lives.
    }
    if (!this.#closed) this.#planLook();
  }

  #add(room: string, change: Change): Stored {
    const now = this.#env.clock.now();
    const stored: Stored = {
      key: this.#env.uuid(),
      user: this.#user,
      room,
      order: Math.max(now, this.#lastOrder + 1),
      change,
      createdAt: now,
      origin: this.#window,
      owner: this.#window,
      state: 'queued',
      error: null,
    };
    this.#enter(stored, { tell: false, ready: false });
    void this.#keep(stored);
    return stored;
  }

  /** On disk first, so that a page that ends after sending can repeat it; but no disk may hold it up for long. */
  async #keep(stored: Stored): Promise<void> {
    const ready = (): void => {
      cancel();
      this.#changes.ready(stored.key);
      this.pump();
    };
    const cancel = this.#env.clock.after(STORE_WAIT, ready);
    await this.#opened;
    if (this.#over.has(stored.key)) return cancel();
    const kept = await this.#store.put(stored).then(() => true, () => false);
    if (this.#over.has(stored.key)) {
      // Then the disk must forget it again.
      await this.#store.remove(stored.key).catch(() => {});
      return cancel();
    }
    if (this.#closed) return cancel();
    if (kept) this.#unkept.delete(stored.key);
    else this.#unkept.add(stored.key);
    // What was said of it meanwhile counts, and what another window has by now, that one tells of.
    const known = this.#pending.get(stored.key)?.stored;
    if (known?.owner === this.#window) this.#tell(known);
    ready();
  }

  /** A change is known from now on: a new one, or from disk, or from another window. */
  #enter(stored: Stored, { tell, ready }: { tell: boolean; ready: boolean }): void {
    if (this.#takenBack.has(stored.key)) this.#over.add(stored.key);
    if (this.#over.has(stored.key) || this.#closed) return;
    this.#lastOrder = Math.max(this.#lastOrder, stored.order);
    const before = this.#pending.get(stored.key);
    if (before?.seq != null) return;
    const mine = stored.owner === this.#window;
    this.#pending.set({
      stored,
      status: stored.state === 'failed' ? 'failed' : mine && this.#changes.isSent(stored.key) ? 'sending' : 'queued',
      seq: null,
      note: stored.error,
    });
    if (!mine || stored.state === 'failed') {
      this.#changes.remove(stored.key);
      if (!mine) this.#heirs.await(stored.owner);
    } else if (!this.#changes.has(stored.key)) {
      this.#changes.add({ key: stored.key, room: laneOf(stored), order: stored.order, ready });
    }
    if (tell) this.#tell(stored);
    this.#listener.changed(stored.room);
    this.pump();
  }

  /** To the other windows; one that was opened since knows only from this whether it is on disk. */
  #tell(stored: Stored): void {
    this.#words.put(stored, !this.#unkept.has(stored.key));
  }

  /** What an heir asks of this window. */
  get #estate(): Estate {
    return {
      ownedBy: (owner) => this.#pending.others.filter((stored) => stored.owner === owner),
      takenFrom: (owner) => this.#pending.takenFrom(owner),
      lives: (owner) => this.#words.lives(owner),
      isOwn: (key) => this.#pending.isOwn(key),
      isKept: (key) => !this.#unkept.has(key),
      found: (stored, adopted) => {
        if (adopted) this.#unkept.delete(stored.key);
        this.#enter(stored, { tell: adopted, ready: true });
      },
      takenOver: async (changes) => {
        for (const stored of changes) {
          this.#unkept.add(stored.key);
          this.#enter(stored, { tell: true, ready: false });
        }
        await Promise.all(changes.map((stored) => this.#keep(stored)));
      },
      over: ({ key }) => this.#lost(key),
    };
  }

  /** Its owner took it off the disk, and did not tell. */
  #lost(key: string): void {
    const one = this.#pending.get(key);
    if (one === undefined) return;
    this.#forget(one, null, false);
    this.pump();
  }

  #answered(key: string, answer: Ok | ErrorFrame | null): void {
    // The socket ended: `disconnected` follows.
    if (answer === null) return;
    const one = this.#pending.get(key);
    if (answer.type === 'ok') {
      if (one !== undefined) this.#finish(key, answer.seq ?? null);
    } else if (isPassing(answer.code, answer.retry_after_ms)) {
      const pause = Math.min(answer.retry_after_ms ?? RETRY_WAIT, RETRY_AFTER_MAX);
      this.#changes.refusedForNow(key, this.#env.clock.now() + pause);
      if (one !== undefined) this.#show(one, 'queued', answer.detail);
    } else if (one !== undefined) {
      this.#failed(one, new Refusal(answer.code, answer.detail));
    }
    this.pump();
  }

  #failed(one: Pending, refusal: Refusal): void {
    const { key, change } = one.stored;
    if (change.type !== 'send') {
      const asked = this.#asked.get(key);
      this.#asked.delete(key);
      this.#finish(key, null);
      if (asked !== undefined) asked.reject(refusal);
      else this.#listener.refused(change, refusal);
      return;
    }
    const stored: Stored = { ...one.stored, state: 'failed', error: refusal.message };
    this.#enter(stored, { tell: true, ready: true });
    void this.#store.put(stored).catch(() => {});
  }

  /** Over: done at `seq`, or taken back. `heard`: its event is there. */
  #finish(key: string, seq: number | null, heard = false): void {
    const one = this.#pending.get(key);
    if (one === undefined) return;
    this.#forget(one, seq, heard);
    this.#remove(key, seq);
    this.pump();
  }

  /** From disk and from the other windows; if it stays on disk, the next look finds it. */
  #remove(key: string, seq: number | null): void {
    if (seq === null) this.#takenBack.add(key);
    void this.#store.remove(key).then(() => this.#takenBack.forget(key), () => {});
    this.#words.gone(key, seq);
  }

  #forget(one: Pending, seq: number | null, heard: boolean): void {
    const { key, room, change } = one.stored;
    this.#over.add(key);
    this.#unkept.delete(key);
    this.#changes.remove(key);
    const asked = this.#asked.get(key);
    this.#asked.delete(key);
    if (seq !== null) asked?.resolve(seq);
    else asked?.reject(new Refusal('conflict', 'It was taken back.'));
    if (seq !== null && !heard && change.type === 'send' && !this.#listener.heard(room, seq)) {
      this.#pending.set({ ...one, status: 'sent', seq, note: null });
    } else {
      this.#pending.delete(key);
    }
    this.#listener.changed(room);
  }

  /** What other windows say. */
  get #heard(): WordsListener {
    return {
      put: (stored, kept) => {
        if (kept === false) this.#unkept.add(stored.key);
        if (kept === true) this.#unkept.delete(stored.key);
        if (stored.user === this.#user) this.#enter(stored, { tell: false, ready: true });
      },
      gone: (key, seq) => {
        const one = this.#pending.get(key);
        this.#over.add(key);
        if (one !== undefined && one.seq === null) this.#forget(one, seq, false);
        this.pump();
      },
      asked: () => {
        const own = this.#pending.all.filter((one) => one.stored.owner === this.#window);
        for (const { stored } of own) if (this.#unkept.has(stored.key)) this.#tell(stored);
      },
    };
  }

  #show(one: Pending, status: 'queued' | 'sending', note: string | null): void {
    if (one.status === 'failed' || one.status === 'sent') return;
    if (one.status === status && one.note === note) return;
    this.#pending.set({ ...one, status, note });
    this.#listener.changed(one.stored.room);
  }
}
