// Addresses of the web in a run of text.
import type { Work } from './next.ts';

const SCHEME = /^https?:\/\//i;
/** What a sentence puts after an address. Brackets are looked at by themselves. */
const AFTER = /[.,;:!?'"*_~`]/;
const TAIL = /[.,;:!?'"*_~`)\]]/;

/** UTF-16 units of an address at most; what is longer is cut there. */
export const ADDRESS_MAX = 2048;

/** The length of the scheme that begins here, with its slashes; 0 when none does. */
export function schemeAt(text: string, at: number): number {
  return SCHEME.exec(text.slice(at, at + 8))?.[0].length ?? 0;
}

/** The address if it is one of http or https with a host; nothing else becomes a link. */
export function safeHref(url: string): string | null {
  try {
    const parsed = new URL(url);
    return (parsed.protocol === 'http:' || parsed.protocol === 'https:') && parsed.hostname !== '' ? parsed.href : null;
  } catch {
    return null;
  }
}

/**
 * The address in `text` from `at` to `to` without what belongs to the sentence, or null. Only the host can be
 * wrong, so it is tried first and alone: many broken addresses in one run would otherwise each be read to
 * the run's end.
 */
export function addressIn(text: string, at: number, to: number, work: Work): { shown: string; href: string } | null {
  const host = hostEnd(text, at + schemeAt(text, at), to);
  let solid = host + 1;
  while (solid < to && TAIL.test(text[solid] ?? '')) solid += 1;
  work.looks += solid - at;
  if (solid < to && safeHref(`${text.slice(at, host)}/`) === null) return null;
  work.looks += to - at;
  const shown = withoutTail(text.slice(at, to));
  const href = safeHref(shown);
  return href === null ? null : { shown, href };
}

/** A browser takes any number of slashes before the host, and a backslash for a slash. */
function hostEnd(text: string, from: number, to: number): number {
  let at = from;
  while (at < to && /[/\\]/.test(text[at] ?? '')) at += 1;
  while (at < to && !/[/\\?#]/.test(text[at] ?? '')) at += 1;
  return at;
}

/** A sentence's full stop, or a bracket that was opened before the address, is no part of it. */
function withoutTail(url: string): string {
  const open = { round: 0, square: 0 };
  for (const unit of url) {
    if (unit === '(') open.round += 1;
    else if (unit === ')') open.round -= 1;
    else if (unit === '[') open.square += 1;
    else if (unit === ']') open.square -= 1;
  }
  for (let end = url.length; ; end -= 1) {
    const last = url[end - 1] ?? '';
    const bracket = last === ')' ? 'round' : last === ']' ? 'square' : null;
    if (bracket === null) {
      if (!AFTER.test(last)) return url.slice(0, end);
    } else {
      if (open[bracket] >= 0) return url.slice(0, end);
      open[bracket] += 1;
    }
  }
}
