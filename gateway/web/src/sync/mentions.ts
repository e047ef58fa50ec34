// Whom a body mentions: `@username`, not inside a word, names without case. The same rule as the
// server's, which counts mentions in the room list. Pure.

/** Letters of names: `@` before one of them begins a mention, unless another stands before the `@`. */
const NAME = '[A-Za-z0-9_-]';

export interface Mention {
  /** Where the `@` is, and where the name ends, in UTF-16 units. */
  start: number;
  end: number;
  username: string;
}

export function mentions(body: string): Mention[] {
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}_@-])@(${NAME}+)(?![\\p{L}\\p{N}_])`, 'gu');
  return Array.from(body.matchAll(pattern), (match) => ({
    start: match.index,
    end: match.index + match[0].length,
    username: match[1] ?? '',
  }));
}

export function mentionsUser(body: string, username: string): boolean {
  if (!body.includes('@')) return false;
  const name = username.toLowerCase();
  return mentions(body).some((mention) => mention.username.toLowerCase() === name);
}
