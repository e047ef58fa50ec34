import { describe, expect, it } from 'vitest';
import type { Memory } from '../sync/env.ts';
import { Draft } from './draft.ts';

/** What a browser keeps, and its windows: each is told, later, of what another one changed. */
class Browser {
  readonly #kept = new Map<string, string>();
  readonly #windows: { draft: Draft; words: (() => void)[] }[] = [];

  /** A window that shows the room, or the same one after it was loaded again. */
  open(): Draft {
    const words: (() => void)[] = [];
    const memory: Memory = {
      get: (name) => this.#kept.get(name) ?? null,
      set: (name, value) => {
        const before = this.#kept.get(name) ?? '';
        if (value === null) this.#kept.delete(name);
        else this.#kept.set(name, value);
        if (before === (value ?? '')) return;
        for (const other of this.#windows) if (other.words !== words) other.words.push(() => other.draft.hear(name, before, value ?? ''));
      },
      names: () => [...this.#kept.keys()],
    };
    const draft = new Draft(memory, 'ada', 'engines', () => {});
    this.#windows.push({ draft, words });
    void draft.text;
    void draft.replyTo;
    return draft;
  }

  /** Every window hears what there is to hear. */
  tell(): void {
    for (const { words } of this.#windows) while (words.length > 0) words.shift()?.();
    if (this.#windows.some(({ words }) => words.length > 0)) this.tell();
  }
}

describe('a draft', () => {
  it('shows in every window of the browser, with what it answers', () => {
    const browser = new Browser();
    const [one, other] = [browser.open(), browser.open()];
    one.text = 'half a thou';
    one.replyTo = 7;
    browser.tell();
    expect([other.text, other.replyTo]).toEqual(['half a thou', 7]);
    other.text = 'half a thought';
    browser.tell();
    expect(one.text).toBe('half a thought');
  });

  it('that is sent in one window is not there to be sent again in another', () => {
    const browser = new Browser();
    const [one, other] = [browser.open(), browser.open()];
    one.text = 'a thought';
    one.replyTo = 7;
    browser.tell();
    other.text = '';
    other.replyTo = null;
    browser.tell();
    expect([one.text, one.replyTo]).toEqual(['', null]);
    expect(browser.open().text).toBe('');
  });

  it('is not written over by a window that has not heard of it', () => {
    const browser = new Browser();
    const [one, other] = [browser.open(), browser.open()];
    other.text = 'written meanwhile';
    one.text = 'sent at once';
    one.text = '';
    browser.tell();
    expect(other.text).toBe('written meanwhile');
    expect(browser.open().text).toBe('written meanwhile');
  });

  it('that another window was in the way of is kept when that one is done', () => {
    const browser = new Browser();
    const [one, other] = [browser.open(), browser.open()];
    other.text = 'sent at once';
    one.text = 'written meanwhile';
    browser.tell();
    other.text = '';
    browser.tell();
    expect([one.text, other.text]).toEqual(['written meanwhile', 'written meanwhile']);
    expect(browser.open().text).toBe('written meanwhile');
  });

  it('takes over what another one answers only with its text', () => {
    const browser = new Browser();
    const [one, other] = [browser.open(), browser.open()];
    one.text = 'an answer';
    other.text = 'no answer';
    browser.tell();
    one.replyTo = 7;
    browser.tell();
    expect([other.text, other.replyTo]).toEqual(['no answer', null]);
    // Sent there: what is left is what was written here, and answers nothing.
    one.text = '';
    one.replyTo = null;
    browser.tell();
    expect([one.text, one.replyTo, other.text, other.replyTo]).toEqual(['no answer', null, 'no answer', null]);
    other.replyTo = 9;
    browser.tell();
    expect(one.replyTo).toBe(9);
  });

  it('shows what it answers also where the words about it came late', () => {
    const browser = new Browser();
    const [one, other] = [browser.open(), browser.open()];
    one.replyTo = 7;
    one.text = 'half';
    one.text = 'half a';
    browser.tell();
    expect([other.text, other.replyTo]).toEqual(['half a', 7]);
  });

  it('outlives the page, with what it answers', () => {
    const browser = new Browser();
    const one = browser.open();
    one.text = 'half';
    one.replyTo = 7;
    const again = browser.open();
    expect([again.text, again.replyTo]).toEqual(['half', 7]);
  });

  it('answers nothing where what was kept is no message', () => {
    const memory: Memory = { get: () => 'x', set: () => {}, names: () => [] };
    expect(new Draft(memory, 'ada', 'engines', () => {}).replyTo).toBeNull();
  });
});
