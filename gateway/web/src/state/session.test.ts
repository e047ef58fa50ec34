// Finding out who is signed in, while the server asks to wait.
import { expect, it } from 'vitest';
import { CookieCredential } from '../sync/credential.ts';
import { FakeBrowser, type Network } from '../sync/testkit/browser.ts';
import { FakeClock } from '../sync/testkit/clock.ts';
import { Host } from './host.svelte.ts';
import { Session } from './session.svelte.ts';

it('asks who is signed in when the server allows it, and at once when a person says so', async () => {
  const clock = new FakeClock();
  let asked = 0;
  const network: Network = {
    openSocket: () => {
      throw new Error('no sockets here');
    },
    fetch: () => {
      asked += 1;
      return Promise.resolve(Response.json({ code: 'unavailable', detail: 'away', retry_after_ms: 20_000 }, { status: 503 }));
    },
  };
  const { env } = new FakeBrowser('x', clock, () => 0.5, network).open();
  const session = new Session(new Host(env, new CookieCredential(env)));
  session.start();
  for (let second = 0; second < 19; second += 1) {
    await clock.run(1_000);
    session.wake();
  }
  expect(asked).toBe(1);
  await clock.run(1_000);
  expect(asked).toBe(2);
  await clock.run(1_000);
  session.retryNow();
  await clock.run(100);
  expect(asked).toBe(3);
});
