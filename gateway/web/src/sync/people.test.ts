// Who is called what: asked for as people come into view, and kept.
import { describe, expect, it } from 'vitest';
import { CookieCredential } from './credential.ts';
import { Http } from './http.ts';
import { BACK_OFF_MAX, PEOPLE_BATCH, PEOPLE_FRESH, PEOPLE_GATHER, PEOPLE_MAX, PEOPLE_SPREAD, PEOPLE_TRIES } from './limits.ts';
import { PeopleStore } from './people-store.ts';
import { People } from './people.ts';
import type { FakeWindow } from './testkit/browser.ts';
import { One } from './testkit/one.ts';
import type { Account, User } from './wire.ts';

class Scene {
  /** Ids of each ask, and when it was. */
  readonly asks: { ids: string[]; at: number }[] = [];
  readonly changed: string[] = [];
  strangers = 0;
  onNamed = (): void => {};
  /** Instead of the server's own answer to an ask. */
  refusal: { code: string; retry_after_ms?: number } | null = null;
  /** What an answer waits for after the server made it. */
  hold: (path: string, method: string) => Promise<void> | null = () => null;
  readonly one: One;
  readonly crowd: Account[];

  constructor(crowd = 3) {
    this.one = new One((server) => ({
      fetch: async (window, path, init) => {
        const ids = new URL(path, 'http://x').searchParams.get('ids')?.split(',');
        if (ids !== undefined) {
          this.asks.push({ ids, at: server.clock.now() });
          if (this.refusal !== null) return Response.json({ detail: 'no', ...this.refusal }, { status: this.refusal.code === 'bad_request' ? 400 : 503 });
        }
        const answer = await server.fetch(window, path, init);
        await this.hold(path, init.method ?? 'GET');
        return answer;
      },
    }));
    this.crowd = Array.from({ length: crowd }, (_, number) => this.one.server.user(`guest-${number}`));
  }

  open(window: FakeWindow = this.one.browser.open(), account = this.one.ann): People {
    this.one.server.signIn(window, account);
    const { env } = window;
    const people = new People(env, new Http(env, new CookieCredential(env)), account.id, new PeopleStore(env), {
      named: (user: User) => {
        this.changed.push(user.id);
        this.onNamed();
      },
      stranger: () => (this.strangers += 1),
    });
    people.start();
    return people;
  }

  calls(account: Account, name: string | null, about?: string): void {
    this.one.server.profiles.change(account, { name, ...(about === undefined ? {} : { about }) });
  }

  get clock() {
    return this.one.clock;
  }

  get ids(): string[] {
    return this.crowd.map((one) => one.id);
  }
}

describe('profiles', () => {
  it('are asked for together, and tell of those only who are called something else', async () => {
    const scene = new Scene();
    const [first, second, third] = scene.ids as [string, string, string];
    scene.calls(scene.crowd[0]!, 'Ada Lovelace', 'Likes engines');
    const people = scene.open();
    for (const id of [first, second, first, third]) people.want(id);
    expect(people.profile(first)).toBeNull();
    await scene.clock.run(PEOPLE_GATHER - 1);
    expect(scene.asks).toEqual([]);
    await scene.clock.run(1_000);
    expect(scene.asks.map((ask) => ask.ids)).toEqual([[first, second, third]]);
    expect(people.profile(first)).toEqual({ id: first, username: 'guest-0', name: 'Ada Lovelace', about: 'Likes engines' });
    expect(people.profile(second)).toEqual({ id: second, username: 'guest-1' });
    expect(people.called('GUEST-0')?.name).toBe('Ada Lovelace');
    expect(scene.changed).toEqual([first]);
    for (const id of scene.ids) people.want(id);
    await scene.clock.run(60_000);
    expect(scene.asks).toHaveLength(1);
  });

  it('are asked for in batches that the server takes, one at a time', async () => {
    const scene = new Scene(2 * PEOPLE_BATCH + 10);
    const people = scene.open();
    let going = 0;
    let most = 0;
    scene.hold = async () => {
      most = Math.max(most, (going += 1));
      await new Promise<void>((resolve) => scene.clock.after(500, resolve));
      going -= 1;
    };
    for (const id of scene.ids) people.want(id);
    await scene.clock.run(10_000);
    expect(scene.asks.map((ask) => ask.ids.length)).toEqual([PEOPLE_BATCH, PEOPLE_BATCH, 10]);
    expect(most).toBe(1);
    expect(scene.ids.every((id) => people.profile(id) !== null)).toBe(true);
  });

  it('are no more than so many: who was looked at least recently goes', async () => {
    const scene = new Scene(PEOPLE_MAX + PEOPLE_BATCH);
    for (const one of scene.crowd.slice(0, 2)) scene.calls(one, `The ${one.username}`);
    const window = scene.one.browser.open();
    const people = scene.open(window);
    const [first, second] = scene.ids as [string, string];
    for (const id of scene.ids.slice(0, PEOPLE_MAX)) people.want(id);
    await scene.clock.run(60_000);
    expect(people.profile(first)).not.toBeNull();
    for (const id of scene.ids.slice(PEOPLE_MAX)) people.want(id);
    await scene.clock.run(60_000);
    expect(people.profile(first)?.name).toBe('The guest-0');
    expect([people.profile(second), people.called('guest-1')]).toEqual([null, null]);
    expect(scene.ids.filter((id) => people.profile(id) !== null)).toHaveLength(PEOPLE_MAX);
    // The disk keeps no more than is held.
    await people.close(false);
    const again = scene.open(window);
    await scene.clock.run(100);
    expect([again.profile(first)?.name, again.profile(second)]).toEqual(['The guest-0', null]);
  });

  it('of more people in view than are held are all held, and asked for once', async () => {
    const scene = new Scene(PEOPLE_MAX + PEOPLE_BATCH);
    for (const one of scene.crowd) scene.calls(one, `The ${one.username}`);
    const people = scene.open();
    // As a list does that shows all of them: it is drawn again when one of them is called something else.
    const draw = (): void => {
      isDue = false;
      for (const id of scene.ids) {
        people.want(id);
        people.profile(id);
      }
    };
    let isDue = true;
    scene.onNamed = () => (isDue = true);
    for (const id of scene.ids) people.show(id);
    for (let step = 0; step < 200; step += 1) {
      if (isDue) draw();
      await scene.clock.run(100);
    }
    expect(scene.ids.filter((id) => people.profile(id)?.name === undefined)).toEqual([]);
    expect(scene.asks).toHaveLength(PEOPLE_MAX / PEOPLE_BATCH + 1);
    // Who is looked at no more goes before who is.
    for (const id of scene.ids.slice(0, 2 * PEOPLE_BATCH)) people.hide(id);
    people.want(scene.one.bob.id);
    await scene.clock.run(1_000);
    expect(scene.ids.filter((id) => people.profile(id) === null)).toEqual(scene.ids.slice(0, PEOPLE_BATCH + 1));
  });

  it('remember whom the server does not know', async () => {
    const scene = new Scene();
    const people = scene.open();
    for (let time = 0; time < 5; time += 1) {
      people.want('user-nobody');
      await scene.clock.run(10_000);
    }
    expect([scene.asks.length, people.profile('user-nobody'), scene.changed]).toEqual([1, null, []]);
  });
});

describe('an ask that fails', () => {
  it('is made again after the time that the server named', async () => {
    const scene = new Scene();
    scene.refusal = { code: 'rate_limited', retry_after_ms: 20_000 };
    const people = scene.open();
    const [id] = scene.ids as [string];
    people.show(id);
    await scene.clock.run(100);
    scene.refusal = null;
    for (let second = 0; second < 19; second += 1) {
      people.again();
      await scene.clock.run(1_000);
    }
    expect(scene.asks).toHaveLength(1);
    await scene.clock.run(20_000);
    expect(scene.asks).toHaveLength(2);
    expect(scene.asks[1]!.at - scene.asks[0]!.at).toBeGreaterThanOrEqual(20_000);
    expect(people.profile(id)).not.toBeNull();
  });

  it('is given up after a while, and made again when the page wakes', async () => {
    const scene = new Scene();
    scene.refusal = { code: 'unavailable' };
    const people = scene.open();
    people.show(scene.ids[0]!);
    await scene.clock.run(60 * 60_000);
    expect(scene.asks).toHaveLength(PEOPLE_TRIES);
    scene.refusal = null;
    people.again();
    await scene.clock.run(1_000);
    expect(people.profile(scene.ids[0]!)).not.toBeNull();
  });

  it('after one that was given up is tried as often', async () => {
    const scene = new Scene();
    scene.refusal = { code: 'unavailable' };
    const people = scene.open();
    people.want(scene.ids[0]!);
    await scene.clock.run(60 * 60_000);
    people.want(scene.ids[1]!);
    await scene.clock.run(60 * 60_000);
    expect(scene.asks).toHaveLength(2 * PEOPLE_TRIES);
  });

  it('and would fail again is made seldom, whoever is looked at', async () => {
    const scene = new Scene();
    scene.refusal = { code: 'bad_request' };
    const people = scene.open();
    for (let second = 0; second < 90; second += 1) {
      for (const id of scene.ids) people.want(id);
      await scene.clock.run(1_000);
    }
    expect(scene.asks.length).toBeLessThanOrEqual(1 + 90_000 / BACK_OFF_MAX);
  });

  it('leaves the names that are known', async () => {
    const scene = new Scene();
    scene.calls(scene.crowd[0]!, 'Ada');
    const people = scene.open();
    const [id] = scene.ids as [string];
    people.show(id);
    await scene.clock.run(1_000);
    scene.refusal = { code: 'unavailable' };
    await scene.clock.run(PEOPLE_FRESH);
    people.again();
    await scene.clock.run(1_000);
    expect([scene.asks.length > 1, people.profile(id)?.name]).toEqual([true, 'Ada']);
  });
});

describe('an old profile', () => {
  it('is asked for again when it is shown again, and shown until then', async () => {
    const scene = new Scene();
    scene.calls(scene.crowd[0]!, 'Ada');
    const people = scene.open();
    const [id] = scene.ids as [string];
    people.want(id);
    await scene.clock.run(1_000);
    scene.calls(scene.crowd[0]!, 'Countess');
    await scene.clock.run(PEOPLE_FRESH);
    expect([scene.asks.length, people.profile(id)?.name]).toEqual([1, 'Ada']);
    people.want(id);
    expect(people.profile(id)?.name).toBe('Ada');
    await scene.clock.run(1_000);
    expect([scene.asks.length, people.profile(id)?.name]).toEqual([2, 'Countess']);
  });

  it('is asked for again when the page wakes, if it is in view', async () => {
    const scene = new Scene();
    const people = scene.open();
    const [shown, gone] = scene.ids as [string, string];
    people.show(shown);
    people.show(gone);
    await scene.clock.run(1_000);
    people.hide(gone);
    people.again();
    await scene.clock.run(PEOPLE_FRESH);
    expect(scene.asks).toHaveLength(1);
    people.again();
    await scene.clock.run(1_000);
    expect(scene.asks.map((ask) => ask.ids)).toEqual([[shown, gone], [shown]]);
  });

  it('is asked for again some time after a node came back, by each page at another moment; who is not known, at once', async () => {
    const scene = new Scene(4);
    const pages = Array.from({ length: 20 }, () => scene.open());
    const [old, , , fresh] = scene.ids as [string, string, string, string];
    for (const people of pages) people.show(old);
    await scene.clock.run(PEOPLE_FRESH + 1_000);
    const first = scene.asks.length;
    const begun = scene.clock.now();
    for (const people of pages) {
      people.reached();
      // What is drawn again meanwhile does not hurry it.
      people.want(old);
    }
    pages[0]!.show(fresh);
    await scene.clock.run(2 * PEOPLE_GATHER);
    const early = scene.asks.slice(first).filter((ask) => ask.ids.includes(fresh));
    expect(early.map((ask) => ask.ids)).toEqual([[fresh]]);
    await scene.clock.run(PEOPLE_SPREAD);
    const times = scene.asks.slice(first).filter((ask) => ask.ids.includes(old)).map((ask) => ask.at - begun);
    expect(times).toHaveLength(pages.length);
    expect(Math.max(...times) - Math.min(...times)).toBeGreaterThan(PEOPLE_SPREAD / 2);
    expect(Math.max(...times)).toBeLessThanOrEqual(PEOPLE_SPREAD + PEOPLE_GATHER);
  });

  it('is asked for at once by a page that wakes, also while it waits for its turn', async () => {
    const scene = new Scene();
    const people = scene.open();
    people.show(scene.ids[0]!);
    await scene.clock.run(PEOPLE_FRESH + 1_000);
    people.reached();
    people.again();
    await scene.clock.run(2 * PEOPLE_GATHER);
    expect(scene.asks).toHaveLength(2);
    await scene.clock.run(PEOPLE_SPREAD);
    expect(scene.asks).toHaveLength(2);
  });

  it('is asked for again at once for who wants to know', async () => {
    const scene = new Scene();
    const people = scene.open();
    const [id] = scene.ids as [string];
    people.want(id);
    await scene.clock.run(1_000);
    scene.calls(scene.crowd[0]!, 'Ada');
    people.refresh(id);
    await scene.clock.run(1_000);
    expect(people.profile(id)?.name).toBe('Ada');
  });
});

describe('what one says of oneself', () => {
  it('shows at once in all windows, and is not undone by an answer to an earlier ask', async () => {
    const scene = new Scene();
    const { ann } = scene.one;
    const [people, other] = [scene.open(), scene.open()];
    const release: (() => void)[] = [];
    scene.hold = (path) => (path.includes('ids=') ? new Promise<void>((resolve) => release.push(resolve)) : null);
    people.want(ann.id);
    await scene.clock.run(1_000);
    const saved = people.save({ name: ' Ann ', about: 'Tea' });
    await scene.clock.run(1_000);
    await saved;
    const wanted = { id: ann.id, username: 'ann', name: 'Ann', about: 'Tea' };
    expect([people.profile(ann.id), other.profile(ann.id)]).toEqual([wanted, wanted]);
    for (const go of release) go();
    await scene.clock.run(1_000);
    expect([people.profile(ann.id), other.profile(ann.id)]).toEqual([wanted, wanted]);
  });

  it('stays as it was when it is refused', async () => {
    const scene = new Scene();
    const people = scene.open();
    const told = people.save({ name: 'Bob' }).catch((error: unknown) => error);
    await scene.clock.run(1_000);
    expect(await told).toMatchObject({ code: 'name_taken' });
    const long = people.save({ about: 'x'.repeat(201) }).catch((error: unknown) => error);
    await scene.clock.run(1_000);
    expect(await long).toMatchObject({ code: 'bad_request' });
    expect(people.profile(scene.one.ann.id)).toBeNull();
  });

  it('is taken from the sign-in only while nothing newer is known', async () => {
    const scene = new Scene();
    const { ann } = scene.one;
    const people = scene.open();
    scene.calls(ann, 'Ann Lee');
    people.introduce({ ...ann, name: 'Ann' });
    expect(people.profile(ann.id)?.name).toBe('Ann');
    people.want(ann.id);
    await scene.clock.run(1_000);
    expect(people.profile(ann.id)?.name).toBe('Ann Lee');
    people.introduce({ ...ann, name: 'Older' });
    expect(people.profile(ann.id)?.name).toBe('Ann Lee');
  });

  it('is not taken from a server of the release before, which knows of no names at the sign-in', async () => {
    const scene = new Scene();
    const { ann } = scene.one;
    const window = scene.one.browser.open();
    const before = scene.open(window);
    scene.calls(ann, 'Ann');
    before.want(ann.id);
    await scene.clock.run(1_000);
    await before.close(false);
    const people = scene.open(window);
    people.introduce(ann);
    await scene.clock.run(10);
    expect(people.profile(ann.id)?.name).toBe('Ann');
    people.introduce(ann);
    await people.close(false);
    const next = scene.open(window);
    await scene.clock.run(10);
    expect(next.profile(ann.id)?.name).toBe('Ann');
    next.want(ann.id);
    await scene.clock.run(1_000);
    expect(scene.asks).toHaveLength(2);
  });

  it('is nothing of what was saved for somebody else, whom another window just signed in', async () => {
    const scene = new Scene();
    const window = scene.one.browser.open();
    const [people, other] = [scene.open(window), scene.open()];
    scene.one.server.signIn(window, scene.one.bob);
    const told = people.save({ name: 'Annie' }).catch((error: unknown) => error);
    await scene.clock.run(1_000);
    expect(await told).toMatchObject({ code: 'stranger', message: expect.stringContaining('signed in as bob') as string });
    expect(scene.strangers).toBe(1);
    for (const each of [people, other]) expect([each.profile(scene.one.ann.id), each.profile(scene.one.bob.id)]).toEqual([null, null]);
  });
});

describe('names that were seen', () => {
  it('are there from the beginning of the next page, and asked for again', async () => {
    const scene = new Scene();
    scene.calls(scene.crowd[0]!, 'Ada', 'Likes engines');
    const window = scene.one.browser.open();
    const people = scene.open(window);
    const [id, plain] = scene.ids as [string, string];
    people.want(id);
    people.want(plain);
    await scene.clock.run(1_000);
    await people.close(false);
    const next = scene.open(window);
    await scene.clock.run(1);
    expect([next.profile(id)?.name, next.profile(plain)]).toEqual(['Ada', null]);
    scene.calls(scene.crowd[0]!, null);
    next.want(id);
    await scene.clock.run(1_000);
    expect(next.profile(id)).toEqual({ id, username: 'guest-0', about: 'Likes engines' });
    await next.close(false);
    const last = scene.open(window);
    await scene.clock.run(1);
    expect(last.profile(id)).toBeNull();
  });

  it('are forgotten at the end of the sign-in, also those that were on their way', async () => {
    const scene = new Scene();
    for (const one of scene.crowd) scene.calls(one, `The ${one.username}`);
    const window = scene.one.browser.open();
    const people = scene.open(window);
    const [first, second] = scene.ids as [string, string];
    people.want(first);
    await scene.clock.run(1_000);
    const release: (() => void)[] = [];
    scene.hold = () => new Promise<void>((resolve) => release.push(resolve));
    people.want(second);
    const saved = people.save({ name: 'Ann' });
    await scene.clock.run(1_000);
    expect(release).toHaveLength(2);
    const closed = people.close(true);
    for (const go of release) go();
    await scene.clock.run(1_000);
    await closed;
    await saved;
    scene.hold = () => null;
    expect([people.profile(second), people.profile(scene.one.ann.id)]).toEqual([null, null]);
    const next = scene.open(window);
    await scene.clock.run(1);
    expect([...scene.ids, scene.one.ann.id].map((id) => next.profile(id))).toEqual([null, null, null, null]);
  });

  it('are not shown to another account, and go when it comes', async () => {
    const scene = new Scene();
    scene.calls(scene.crowd[0]!, 'Ada');
    const window = scene.one.browser.open();
    const people = scene.open(window);
    const [id] = scene.ids as [string];
    people.want(id);
    await scene.clock.run(1_000);
    await people.close(false);
    const bobs = scene.open(window, scene.one.bob);
    await scene.clock.run(1_000);
    expect(bobs.profile(id)).toBeNull();
    await bobs.close(false);
    const anns = scene.open(window);
    await scene.clock.run(1_000);
    expect(anns.profile(id)).toBeNull();
  });

  it('come without a disk as well', async () => {
    const scene = new Scene();
    scene.calls(scene.crowd[0]!, 'Ada');
    scene.one.browser.diskFails = () => true;
    const people = scene.open();
    people.want(scene.ids[0]!);
    await scene.clock.run(1_000);
    expect(people.profile(scene.ids[0]!)?.name).toBe('Ada');
    await people.close(true);
  });
});

it('people are found by username and by name', async () => {
  const scene = new Scene();
  scene.calls(scene.crowd[0]!, 'Ada');
  const people = scene.open();
  const found = people.find('AD', 20);
  await scene.clock.run(1_000);
  expect((await found).map((one) => one.username)).toEqual(['guest-0']);
  expect([people.profile(scene.ids[0]!)?.name, scene.asks]).toEqual(['Ada', []]);
});
