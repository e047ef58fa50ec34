// An open conversation, against a server that is well.
import { describe, expect, it } from 'vitest';
import { CookieCredential } from '../sync/credential.ts';
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
