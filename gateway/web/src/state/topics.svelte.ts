// Reactive versions of what the engine tells: who reads a topic is run again after it changed. Changes
// are gathered, for a microtask or for a frame of the screen, so that a burst of events is one update, and
// never come while a page is being computed.
import { SvelteMap } from 'svelte/reactivity';

/** Before this is over the work is done, whether a frame is drawn or not. */
const FRAME_MS_MAX = 100;

export class Topics {
  // Not a `$state` for each topic: one that is made while something is computed is no dependency of it.
  readonly #versions = new SvelteMap<string, number>();
  readonly #changed = new Set<string>();
  /** Topics that were read and never changed. */
  readonly #unmade = new Set<string>();
  readonly #beforeFrame: (work: () => void) => void;
  /** When those that changed are told. */
  #due: 'turn' | 'frame' | null = null;

  constructor(beforeFrame = beforeNextFrame) {
    this.#beforeFrame = beforeFrame;
  }

  /** The version; reading it makes who reads depend on the topic. */
  version(name: string): number {
    const version = this.#versions.get(name);
    if (version === undefined) this.#make(name);
    return version ?? 0;
  }

  /** Whoever reads what the map does not hold is run again after every change of anything; so it is made to hold it. */
  #make(name: string): void {
    if (this.#unmade.size === 0) queueMicrotask(() => this.#makeAll());
    this.#unmade.add(name);
  }

  #makeAll(): void {
    const unmade = [...this.#unmade];
    this.#unmade.clear();
    for (const name of unmade) if (!this.#versions.has(name)) this.#versions.set(name, 0);
  }

  /** Told in a moment: whoever waits for what changed finds it told. */
  changed(name: string): void {
    this.#changed.add(name);
    if (this.#due === 'turn') return;
    this.#due = 'turn';
    queueMicrotask(() => this.#flush());
  }

  /** Told with the next frame: whatever else changes until then is the same update. */
  soon(name: string): void {
    this.#changed.add(name);
    if (this.#due !== null) return;
    this.#due = 'frame';
    this.#beforeFrame(() => this.#flush());
  }

  #flush(): void {
    this.#due = null;
    const changed = [...this.#changed];
    this.#changed.clear();
    for (const name of changed) this.#versions.set(name, this.version(name) + 1);
  }
}

/** Does it once, before the next frame is drawn. A page that is not seen draws none. */
function beforeNextFrame(work: () => void): void {
  if (typeof requestAnimationFrame === 'undefined' || document.visibilityState === 'hidden') return queueMicrotask(work);
  const once = (): void => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
    work();
  };
  const frame = requestAnimationFrame(once);
  const timer = setTimeout(once, FRAME_MS_MAX);
}
