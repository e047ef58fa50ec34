// Reactive versions of what the engine tells: who reads a topic is run again after it changed. Changes
// are gathered for a microtask, so that a burst of events is one update, and never come while a page is
// being computed.
import { SvelteMap } from 'svelte/reactivity';

export class Topics {
  // Not a `$state` for each topic: one that is made while something is computed is no dependency of it.
  readonly #versions = new SvelteMap<string, number>();
  readonly #changed = new Set<string>();

  /** The version; reading it makes who reads depend on the topic. */
  version(name: string): number {
    return this.#versions.get(name) ?? 0;
  }

  changed(name: string): void {
    if (this.#changed.size === 0) queueMicrotask(() => this.#flush());
    this.#changed.add(name);
  }

  #flush(): void {
    const changed = [...this.#changed];
    this.#changed.clear();
    for (const name of changed) this.#versions.set(name, this.version(name) + 1);
  }
}
