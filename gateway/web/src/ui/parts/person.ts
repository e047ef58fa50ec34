// How a person looks where there is no picture of them.

/** One of eight colours, always the same for one id. */
export function hueOf(id: string): number {
  let sum = 0;
  for (let at = 0; at < id.length; at += 1) sum = (sum * 31 + id.charCodeAt(at)) >>> 0;
  return sum % 8;
}

/** "Ada Lovelace" and "anna_lee" are AL, "bob" is BO. A name without letters has its first sign. */
export function initials(name: string): string {
  const words = name.split(/[-_\s]+/).map((word) => [...word.replace(/^[^\p{L}\p{N}]+/u, '')]);
  const [first, second] = words.filter((word) => word.length > 0);
  if (first === undefined) return [...name.trim()][0] ?? '?';
  const letters = second === undefined ? first.slice(0, 2) : [first[0], second[0]];
  return letters.join('').toUpperCase();
}
