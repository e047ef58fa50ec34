// What the windows of a user say to each other of changes on their way.
import type { Channel, Env } from './env.ts';
import { HEIR_WAIT } from './limits.ts';
import type { Stored } from './outbox-store.ts';

type Word =
  /** `kept`: whether it is on disk; absent, in a page of an older release: as it was. */
  | { type: 'put'; stored: Stored; kept?: boolean }
  | { type: 'gone'; key: string; seq: number | null }
  /** Whether a window lives; it says so, and the others what they have and no disk does. */
  | { type: 'ask'; window: string }
  | { type: 'here'; window: string };

export interface WordsListener {
  put(stored: Stored, kept: boolean | undefined): void;
  gone(key: string, seq: number | null): void;
  /** Somebody wants to take over what another window left: it is to hear what this one has and no disk does. */
  asked(): void;
}

export class Words {
  readonly #env: Env;
  readonly #window: string;
  readonly #listener: WordsListener;
  readonly #channel: Channel;
  /** Windows that a sign of life is waited for. */
  readonly #asking = new Map<string, () => void>();

  constructor(env: Env, user: string, window: string, listener: WordsListener) {
    this.#env = env;
    this.#window = window;
    this.#listener = listener;
    this.#channel = env.openChannel(`parlance/outbox/${user}`);
    this.#channel.onmessage = ({ data }) => this.#hear(data as Word);
  }

  put(stored: Stored, kept: boolean): void {
    this.#say({ type: 'put', stored, kept });
  }

  gone(key: string, seq: number | null): void {
    this.#say({ type: 'gone', key, seq });
  }

  /** Whether a window lives: it answers, unless the browser stopped it. */
  lives(window: string): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (lives: boolean): void => {
        cancel();
        this.#asking.delete(window);
        resolve(lives);
      };
      const cancel = this.#env.clock.after(HEIR_WAIT, () => end(false));
      this.#asking.set(window, () => end(true));
      this.#say({ type: 'ask', window });
    });
  }

  close(): void {
    this.#channel.onmessage = null;
    this.#channel.close();
  }

  #say(word: Word): void {
    this.#channel.postMessage(word);
  }

  #hear(word: Word): void {
    switch (word.type) {
      case 'put':
        return this.#listener.put(word.stored, word.kept);
      case 'gone':
        return this.#listener.gone(word.key, word.seq);
      case 'ask':
        return word.window === this.#window ? this.#say({ type: 'here', window: word.window }) : this.#listener.asked();
      case 'here':
        return this.#asking.get(word.window)?.();
    }
  }
}
