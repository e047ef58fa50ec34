// Short words to the user about what happened away from where they look.
import type { NoticesStore, Toast } from './types.ts';

const KEPT_MAX = 5;

export class Notices implements NoticesStore {
  list: readonly Toast[] = $state.raw([]);
  #nextId = 1;

  say(text: string): void {
    this.list = [...this.list, { id: this.#nextId++, text }].slice(-KEPT_MAX);
  }

  dismiss(id: number): void {
    this.list = this.list.filter((toast) => toast.id !== id);
  }
}
