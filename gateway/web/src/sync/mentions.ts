// Whom a body mentions: `@username`, not inside a word, names without case. The same rule as the
// server's (`vocab/mention.rs`), which counts mentions in the room list. Pure.
import { MENTIONS_MAX, USERNAME_MAX } from './limits.ts';

/** Letters of words, of any script. */
const WORD = '\\p{Alphabetic}\\p{N}_';
/** Letters of names: `@` before one of them begins a mention, unless another stands before the `@`. */
const NAME = '[A-Za-z0-9_-]';

export interface Mention {
  /** Where the `@` is, and where the name ends, in UTF-16 units. */
  start: number;
  end: number;
  username: string;
}

export function mentions(body: string): Mention[] {
  const pattern = new RegExp(`(?<![${WORD}@-])@(${NAME}+)(?![${WORD}])`, 'gu');
  return Array.from(body.matchAll(pattern), (match) => ({
    start: match.index,
    end: match.index + match[0].length,
    username: match[1] ?? '',
  }));
}

export function mentionsUser(body: string, username: string): boolean {
  if (!body.includes('@')) return false;
  const names = new Set(mentions(body).map((mention) => mention.username.toLowerCase()));
  const counted = [...names].filter((name) => name.length <= USERNAME_MAX).slice(0, MENTIONS_MAX);
  return counted.includes(username.toLowerCase());
}
