// An open conversation, against a server that is well.
import { describe, expect, it } from 'vitest';
import { CookieCredential } from '../sync/credential.ts';
import { ITEMS_MAX } from '../sync/limits.ts';
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
