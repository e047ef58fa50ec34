// Finding a room or a person by some letters.
import type { RoomItem } from '../../state/types.ts';

/** Without case, and with one form of the Greek sigma: lower case makes another one of it at a word's end. */
function folded(text: string): string {
  return text.toLowerCase().replaceAll('ς', 'σ');
}

/** How well `text` fits `sought`: 0 not at all, more is better. */
export function score(text: string, sought: string): number {
  const name = folded(text);
  const want = folded(sought.trim());
  if (want === '') return 1;
  if (name === want) return 6;
  if (name.startsWith(want)) return 5;
  if (name.split(/[\s_\-./]+/).some((part) => part.startsWith(want))) return 4;
  if (name.includes(want)) return 3;
  return inOrder(name, want) ? 1 : 0;
}

function inOrder(name: string, want: string): boolean {
  let at = 0;
  for (const letter of want.replace(/\s+/g, '')) {
    at = name.indexOf(letter, at) + 1;
    if (at === 0) return false;
  }
  return true;
}

/** Those of which a name fits, the best first, otherwise in the given order. */
export function matching<T>(list: readonly T[], names: (one: T) => readonly string[], sought: string): T[] {
  return list
    .map((one) => ({ one, score: Math.max(...names(one).map((name) => score(name, sought))) }))
    .filter((each) => each.score > 0)
    .sort((a, b) => b.score - a.score)
    .map((each) => each.one);
}

/** What a room is found by: a conversation by the other one's username as well. */
export function namesOf(room: RoomItem): string[] {
  return room.with === null ? [room.title] : [room.title, room.with.username];
}
