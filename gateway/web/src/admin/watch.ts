// Asks for the report again and again while the page is looked at.
import type { Call } from '../state/types.ts';
import type { ClusterReport } from './report.ts';

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
export function watch(
  call: Call,
  page: Page,
  show: (report: ClusterReport) => void,
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
      const report = await call<ClusterReport>('GET', '/api/cluster');
      if (!stopped) show(report);
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
