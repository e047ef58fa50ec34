// What the user set in this browser.
import type { Memory } from '../sync/env.ts';
import type { SettingsStore } from './types.ts';

const NAME = 'parlance.settings';

const DEFAULTS: SettingsStore = {
  theme: 'system',
  density: 'comfortable',
  sendWithEnter: true,
  notifications: false,
};

export class Settings implements SettingsStore {
  readonly #memory: Memory;
  #all: SettingsStore = $state.raw(DEFAULTS);

  constructor(memory: Memory) {
    this.#memory = memory;
    this.#all = read(memory.get(NAME));
  }

  get theme(): SettingsStore['theme'] {
    return this.#all.theme;
  }

  set theme(theme) {
    this.#set({ theme });
  }

  get density(): SettingsStore['density'] {
    return this.#all.density;
  }

  set density(density) {
    this.#set({ density });
  }

  get sendWithEnter(): boolean {
    return this.#all.sendWithEnter;
  }

  set sendWithEnter(sendWithEnter) {
    this.#set({ sendWithEnter });
  }

  get notifications(): boolean {
    return this.#all.notifications;
  }

  set notifications(notifications) {
    this.#set({ notifications });
  }

  #set(change: Partial<SettingsStore>): void {
    this.#all = { ...this.#all, ...change };
    this.#memory.set(NAME, JSON.stringify(this.#all));
  }
}

/** What was kept, as far as it is still a setting. */
export function read(text: string | null): SettingsStore {
  let kept: Record<string, unknown> = {};
  try {
    const value: unknown = JSON.parse(text ?? '{}');
    if (typeof value === 'object' && value !== null) kept = value as Record<string, unknown>;
  } catch {
    // The defaults then.
  }
  const { theme, density, sendWithEnter, notifications } = kept;
  return {
    theme: theme === 'light' || theme === 'dark' ? theme : DEFAULTS.theme,
    density: density === 'compact' ? density : DEFAULTS.density,
    sendWithEnter: typeof sendWithEnter === 'boolean' ? sendWithEnter : DEFAULTS.sendWithEnter,
    notifications: typeof notifications === 'boolean' ? notifications : DEFAULTS.notifications,
  };
}
