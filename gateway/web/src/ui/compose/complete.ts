// Completion of @names while they are typed.

export interface Word {
  /** Where the `@` stands. */
  from: number;
  /** What was typed after it. */
  prefix: string;
}

/** The unfinished name before the caret, if there is one. */
export function nameAt(text: string, caret: number): Word | null {
  const match = /(^|[^\p{L}\p{N}_@])@([\p{L}\p{M}\p{N}_-]{0,50})$/u.exec(text.slice(Math.max(0, caret - 64), caret));
  if (match === null) return null;
  const prefix = match[2] ?? '';
  return { from: caret - prefix.length - 1, prefix };
}

/** Who fits by username or name: those whose begins with it before those whose holds it, otherwise in the given order. */
export function fitting<T extends { username: string }>(
  people: readonly T[],
  prefix: string,
  nameOf: (person: T) => string,
): T[] {
  const sought = prefix.toLowerCase();
  const begin: T[] = [];
  const hold: T[] = [];
  const seen = new Set<string>();
  for (const person of people) {
    const username = person.username.toLowerCase();
    if (seen.has(username)) continue;
    seen.add(username);
    const name = nameOf(person).toLowerCase();
    const words = [username, name, ...name.split(/\s+/)];
    if (words.some((word) => word.startsWith(sought))) begin.push(person);
    else if (words.some((word) => word.includes(sought))) hold.push(person);
  }
  return [...begin, ...hold];
}

/** The first ones; who is chosen stays among them as long as they are in the list at all. */
export function shortened<T extends { id: string }>(list: readonly T[], max: number, chosen: string | null): T[] {
  const at = list.findIndex((one) => one.id === chosen);
  return at < max ? list.slice(0, max) : [...list.slice(0, max - 1), ...list.slice(at, at + 1)];
}

/** The text with the name written out, and where the caret goes. */
export function withName(text: string, caret: number, word: Word, name: string): { text: string; caret: number } {
  const rest = text.slice(caret);
  const space = /^\s/.test(rest) ? '' : ' ';
  const head = `${text.slice(0, word.from)}@${name}${space}`;
  return { text: head + rest, caret: head.length + (space === '' ? 1 : 0) };
}

/** Bytes of a body at most, as the server has it. */
export const BODY_BYTES_MAX = 16 * 1024;

export function bytesOf(text: string): number {
  // Short texts cannot be too long in any script, and most are short.
  return text.length * 3 <= BODY_BYTES_MAX ? text.length : new TextEncoder().encode(text).length;
}
