// How a person looks where there is no picture of them.

/** One of eight colours, always the same for one id. */
export function hueOf(id: string): number {
  let sum = 0;
  for (let at = 0; at < id.length; at += 1) sum = (sum * 31 + id.charCodeAt(at)) >>> 0;
  return sum % 8;
}

/** "anna_lee" is AL, "bob" is BO. */
export function initials(name: string): string {
  const parts = name.split(/[-_\s]+/).filter((part) => part !== '');
  const [first = '?', second] = parts;
  const letters = second === undefined ? [...first].slice(0, 2).join('') : (first[0] ?? '') + (second[0] ?? '');
  return letters.toUpperCase();
}
