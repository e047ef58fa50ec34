// Asks for something again and again while the page is looked at.
import type { Call } from '../state/types.ts';

/** From an answer to the next question. */
export const EVERY_MS = 2_000;

export interface Page {
  readonly hidden: boolean;
  addEventListener(type: 'visibilitychange', listener: () => void): void;
  removeEventListener(type: 'visibilitychange', listener: () => void): void;
}

export interface Watch {
  /** Asks at once: something was just done. */
  again(): void;
  stop(): void;
}

/** Begins at once. One question is on its way at a time; nothing is asked while the page is hidden. */
export function watch<T>(
  call: Call,
  path: string,
  page: Page,
  show: (answer: T) => void,
  fail: (why: Error) => void,
): Watch {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let asking = false;
  let askAgain = false;
  let stopped = false;

  async function ask(): Promise<void> {
    clearTimeout(timer);
    if (stopped || page.hidden) return;
    if (asking) {
      askAgain = true;
      return;
    }
    asking = true;
    try {
      const answer = await call<T>('GET', path);
      if (!stopped) show(answer);
    } catch (error) {
      if (!stopped) fail(error as Error);
    }
    asking = false;
    const wait = askAgain ? 0 : EVERY_MS;
    askAgain = false;
    if (!stopped) timer = setTimeout(() => void ask(), wait);
  }

  const turned = (): void => void ask();
  page.addEventListener('visibilitychange', turned);
  void ask();
  return {
    again: () => void ask(),
    stop: () => {
      stopped = true;
      clearTimeout(timer);
      page.removeEventListener('visibilitychange', turned);
    },
  };
}
