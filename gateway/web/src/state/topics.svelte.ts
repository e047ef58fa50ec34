// Reactive versions of what the engine tells: who reads a topic is run again after it changed. Changes
// are gathered for a microtask, so that a burst of events is one update, and never come while a page is
// being computed.

class Topic {
  #version = $state(0);

  get version(): number {
    return this.#version;
  }

  bump(): void {
    this.#version += 1;
  }
}

export class Topics {
  readonly #topics = new Map<string, Topic>();
  readonly #changed = new Set<string>();

  /** The version; reading it makes who reads depend on the topic. */
  version(name: string): number {
    let topic = this.#topics.get(name);
    if (topic === undefined) this.#topics.set(name, (topic = new Topic()));
    return topic.version;
  }

  changed(name: string): void {
    if (this.#changed.size === 0) queueMicrotask(() => this.#flush());
    this.#changed.add(name);
  }

  #flush(): void {
    const changed = [...this.#changed];
    this.#changed.clear();
    for (const name of changed) this.#topics.get(name)?.bump();
  }
}
