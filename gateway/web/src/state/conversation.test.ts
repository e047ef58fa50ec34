// An open conversation, against a server that is well.
import { describe, expect, it } from 'vitest';
import { CookieCredential } from '../sync/credential.ts';
import { GAP_EVENTS_MAX, ITEMS_MAX } from '../sync/limits.ts';
import { One } from '../sync/testkit/one.ts';
import { OpenConversation } from './conversation.svelte.ts';
import { Host } from './host.svelte.ts';
import { Items } from './items.ts';

/** Ann has the room open. */
async function opened(messages = 0): Promise<{ one: One; host: Host; conv: OpenConversation }> {
  const one = new One();
  one.say(messages);
  one.server.signIn(one.window, one.ann);
  const host = new Host(one.window.env, new CookieCredential(one.window.env));
  host.begin(one.ann);
  await one.clock.run(2_000);
  const conv = new OpenConversation(host, host.present, new Items(one.ann), one.tea.id);
  conv.touch();
  await one.clock.run(2_000);
  return { one, host, conv };
}

describe('a draft', () => {
  it('is not kept again by another window once its writer signed out', async () => {
    const { one, host, conv } = await opened();
    const { memory } = one.window.env;
    const name = `parlance.draft.${one.ann.id}.${one.tea.id}`;
    expect(conv.draft).toBe('');
    memory.set(name, 'written elsewhere');
    conv.draft = 'written here';
    await host.end(false);
    memory.set(name, null);
    conv.hearKept(name, 'written elsewhere', '');
    expect(memory.get(name)).toBeNull();
  });
});

describe('a conversation that is left', () => {
  it('begins with the newest when it is opened again, however far up it was read', async () => {
    const { one, conv } = await opened(ITEMS_MAX + 500);
    for (let page = 0; conv.atHead && page < 200; page += 1) {
      conv.lookAt(conv.items[0]?.seq ?? null);
      void conv.loadOlder();
      await one.clock.run(100);
    }
    expect(conv.atHead).toBe(false);
    conv.leave();
    expect(conv.loaded).toBe(false);
    conv.touch();
    await one.clock.run(2_000);
    expect(conv.atHead).toBe(true);
    expect(conv.items.at(-1)?.seq).toBe(one.tea.log.length);
  });

  it('keeps what it holds if that reaches the newest', async () => {
    const { one, conv } = await opened(200);
    conv.lookAt(conv.items[0]?.seq ?? null);
    void conv.loadOlder();
    await one.clock.run(100);
    const [first] = conv.items;
    conv.leave();
    expect([conv.loaded, conv.items[0]]).toEqual([true, first]);
  });
});

describe("one's own waiting messages", () => {
  const own = (conv: OpenConversation): string[] => conv.items.filter((item) => item.mine).map((item) => item.id);

  /** A little above the newest, the socket is away, and two messages wait; meanwhile much is said. */
  async function waiting(): Promise<{ one: One; conv: OpenConversation; keys: string[] }> {
    const { one, conv } = await opened(500);
    conv.lookAt(conv.items.at(-20)?.seq ?? null);
    one.server.down = true;
    await one.clock.run(60_000);
    const keys = [conv.send('first'), conv.send('second')];
    await one.clock.run(100);
    expect(conv.items.slice(-2).map((item) => item.id)).toEqual(keys);
    one.say(GAP_EVENTS_MAX + 50);
    return { one, conv, keys };
  }

  it('stay last while a long gap is read again, and after it, also the failed ones', async () => {
    const { one, conv, keys } = await waiting();
    one.server.refuses = (what) => (what === 'send' ? { code: 'rate_limited', detail: 'later', retry_after_ms: 30_000 } : null);
    // The history stands still: what is shown stays stale.
    const page = one.server.page(one.tea, { after: 0, limit: 1 });
    const answers = one.server.page.bind(one.server);
    one.server.page = () => page;
    one.server.down = false;
    let stale = 0;
    for (let step = 0; step < 600 && stale < 50; step += 1) {
      await one.clock.run(100);
      if (conv.loaded && !conv.atHead) stale += 1;
      expect(conv.items.slice(-2).map((item) => item.id)).toEqual(keys);
      expect(conv.items.slice(-2).every((item) => item.status === 'queued' || item.status === 'sending')).toBe(true);
    }
    expect(stale).toBe(50);
    expect(conv.items.at(-3)?.kind).toBe('gap-loading');
    const reader = conv.items.at(-22)?.id;
    one.server.page = answers;
    one.server.refuses = (what) => (what === 'send' ? { code: 'forbidden', detail: 'no' } : null);
    void conv.loadNewer();
    await one.clock.run(120_000);
    expect(conv.items.slice(-2).map((item) => [item.id, item.status])).toEqual(keys.map((key) => [key, 'failed']));
    // Page by page to the present, they are never there twice and never missing.
    for (let step = 0; step < 100 && !conv.atHead; step += 1) {
      expect(own(conv)).toEqual(keys);
      expect(conv.items.some((item) => item.id === reader)).toBe(true);
      void conv.loadNewer();
      await one.clock.run(100);
    }
    expect(conv.atHead).toBe(true);
    expect(own(conv)).toEqual(keys);
    expect(conv.items.some((item) => item.kind === 'gap-loading')).toBe(false);
  });

  it('are there once when they were sent and the present is read', async () => {
    const { one, conv, keys } = await waiting();
    one.server.down = false;
    for (let step = 0; step < 600; step += 1) {
      await one.clock.run(100);
      expect(new Set(conv.items.map((item) => item.id)).size).toBe(conv.items.length);
    }
    await Promise.all([conv.toHead(), one.clock.run(1_000)]);
    expect(own(conv)).toEqual(keys);
    expect(conv.items.slice(-2).map((item) => [item.id, item.status])).toEqual(keys.map((key) => [key, 'sent']));
  });
});
