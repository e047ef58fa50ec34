// A run of text into spans: code, links, mentions, emphasis, and the words between them.
import { ADDRESS_MAX, addressIn, schemeAt } from './address.ts';
import { Next, type Work } from './next.ts';
import type { Span } from './parse.ts';

interface Found {
  span: Span;
  end: number;
}

const NAME_MIN = 3;
const NAME_MAX = 50;
const NAME = /[A-Za-z0-9_-]/;
const WORD = /[\p{L}\p{N}_]/u;
/** Each level reads its text again. */
const NESTING_MAX = 4;

/** The tokens of a run of text. */
export function inline(text: string, work: Work = { looks: 0 }): Span[] {
  return new Run(text, 0, work).spans();
}

class Run {
  readonly #text: string;
  readonly #depth: number;
  readonly #work: Work;
  readonly #oneStar: Next;
  readonly #twoStars: Next;
  readonly #gap: Next;
  readonly #tick: Next;

  constructor(text: string, depth: number, work: Work) {
    this.#text = text;
    this.#depth = depth;
    this.#work = work;
    this.#oneStar = new Next(text, work, (_, at) => isParagraphEnd(text, at) || endsEmphasis(text, at));
    this.#twoStars = new Next(text, work, (_, at) => isParagraphEnd(text, at) || endsStrong(text, at));
    this.#gap = new Next(text, work, (_, at) => /[\s<>"]/.test(text[at] ?? ''));
    this.#tick = new Next(text, work, (_, at) => text[at] === '`' || text[at] === '\n');
  }

  spans(): Span[] {
    const out: Span[] = [];
    let plain = 0;
    let at = 0;
    const flush = (): void => {
      if (at > plain) out.push({ kind: 'text', text: this.#text.slice(plain, at) });
    };
    while (at < this.#text.length) {
      this.#work.looks += 1;
      const found = this.#at(at);
      if (found === null) {
        at += 1;
        continue;
      }
      flush();
      out.push(found.span);
      at = plain = found.end;
    }
    flush();
    return out;
  }

  #at(at: number): Found | null {
    switch (this.#text[at]) {
      case '`':
        return this.#code(at);
      case 'h':
      case 'H':
        return this.#link(at);
      case '@':
        return this.#mention(at);
      case '*':
        return this.#depth < NESTING_MAX ? this.#starred(at) : null;
      default:
        return null;
    }
  }

  #code(at: number): Found | null {
    const end = this.#tick.from(at + 1);
    if (end === at + 1 || this.#text[end] !== '`') return null;
    return { span: { kind: 'code', text: this.#text.slice(at + 1, end) }, end: end + 1 };
  }

  #link(at: number): Found | null {
    const scheme = schemeAt(this.#text, at);
    if (scheme === 0 || this.#isInWord(at)) return null;
    const to = Math.min(this.#gap.from(at + scheme), at + ADDRESS_MAX);
    if (to === at + scheme) return null;
    const address = addressIn(this.#text, at, to, this.#work);
    if (address === null) return null;
    const { shown, href } = address;
    return { span: { kind: 'link', text: shown, href }, end: at + shown.length };
  }

  #mention(at: number): Found | null {
    if (this.#isInWord(at)) return null;
    let end = at + 1;
    while (end <= at + NAME_MAX + 1 && NAME.test(this.#text[end] ?? '')) end += 1;
    this.#work.looks += end - at;
    const name = this.#text.slice(at + 1, end);
    if (name.length < NAME_MIN || name.length > NAME_MAX) return null;
    return { span: { kind: 'mention', text: `@${name}`, name }, end };
  }

  #starred(at: number): Found | null {
    const strong = this.#text.startsWith('**', at);
    const from = at + (strong ? 2 : 1);
    if (/^$|[\s*]/.test(this.#text[from] ?? '')) return null;
    if (!strong && this.#isInWord(at)) return null;
    const end = (strong ? this.#twoStars : this.#oneStar).from(from + 1);
    if (this.#text[end] !== '*') return null;
    const spans = new Run(this.#text.slice(from, end), this.#depth + 1, this.#work).spans();
    return { span: { kind: strong ? 'strong' : 'emphasis', spans }, end: end + (strong ? 2 : 1) };
  }

  #isInWord(at: number): boolean {
    return at > 0 && WORD.test(this.#text[at - 1] ?? '');
  }
}

/** No emphasis goes on over an empty line. */
function isParagraphEnd(text: string, at: number): boolean {
  return text[at] === '\n' && text[at + 1] === '\n';
}

function endsStrong(text: string, at: number): boolean {
  return text.startsWith('**', at) && !/\s/.test(text[at - 1] ?? ' ');
}

/** A star that is part of a `**` is not the end of a single one, and neither is one inside a word. */
function endsEmphasis(text: string, at: number): boolean {
  if (text[at] !== '*' || /[\s*]/.test(text[at - 1] ?? ' ')) return false;
  return text[at + 1] !== '*' && !WORD.test(text[at + 1] ?? '');
}
