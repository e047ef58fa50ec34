// Message text into tokens. The page draws tokens with elements of its own: text never becomes HTML.
// Anybody may write any text, so all of this takes time that grows with its length only.
import { inline } from './inline.ts';
import type { Work } from './next.ts';

export type Span =
  | { kind: 'text'; text: string }
  | { kind: 'code'; text: string }
  | { kind: 'link'; text: string; href: string }
  | { kind: 'mention'; text: string; name: string }
  | { kind: 'strong'; spans: Span[] }
  | { kind: 'emphasis'; spans: Span[] };

export type Block =
  | { kind: 'paragraph'; spans: Span[] }
  | { kind: 'quote'; spans: Span[] }
  | { kind: 'code'; text: string; language: string };

/** The blocks of a message: fenced code, quoted lines and paragraphs, in order. */
export function parse(body: string, work: Work = { looks: 0 }): Block[] {
  const whole = oneLineFence(body);
  if (whole !== null) return [whole];
  const blocks: Block[] = [];
  const lines = body.replace(/\r\n?/g, '\n').split('\n');
  const fences = new Fences(lines);
  // The fences, the quotes and the split look at each character once.
  work.looks += 3 * body.length;
  let at = 0;
  while (at < lines.length) {
    const end = fences.endOf(at);
    if (end !== null) {
      blocks.push({ kind: 'code', text: lines.slice(at + 1, end).join('\n'), language: fences.languages[at] ?? '' });
      at = end + 1;
      continue;
    }
    const quoted = isQuoted(lines[at]);
    const from = at;
    do at += 1;
    while (at < lines.length && isQuoted(lines[at]) === quoted && fences.endOf(at) === null);
    const text = lines.slice(from, at).map((each) => (quoted ? each.replace(/^>\s?/, '') : each));
    const spans = inline(trimmed(text).join('\n'), work);
    if (spans.length > 0) blocks.push({ kind: quoted ? 'quote' : 'paragraph', spans });
  }
  return blocks;
}

/** "```code```" in one go, as people also write it. */
function oneLineFence(body: string): Block | null {
  const match = /^```([^`\n]+)```$/.exec(body.trim());
  return match === null ? null : { kind: 'code', text: (match[1] ?? '').trim(), language: '' };
}

/** The lines of a text that open and close fenced code. */
class Fences {
  /** What each line says of a language; null: it is no fence. */
  readonly languages: (string | null)[];
  /** For each line the first at or after it that closes a fence; -1: there is none. */
  readonly #closing: number[];

  constructor(lines: string[]) {
    this.languages = lines.map(fence);
    this.#closing = new Array<number>(lines.length + 1).fill(-1);
    for (let at = lines.length - 1; at >= 0; at -= 1) {
      this.#closing[at] = this.languages[at] === '' ? at : (this.#closing[at + 1] ?? -1);
    }
  }

  /** The line that closes the fence which this one opens; null if it opens none that is closed. */
  endOf(at: number): number | null {
    if (this.languages[at] == null) return null;
    const end = this.#closing[at + 1] ?? -1;
    return end < 0 ? null : end;
  }
}

/** A line's language if it is a fence. */
function fence(line: string): string | null {
  const text = line.trim();
  if (!text.startsWith('```')) return null;
  const language = text.slice(3).trimStart();
  return /^[\w+#.-]*$/.test(language) ? language : null;
}

function isQuoted(line: string | undefined): boolean {
  return line?.startsWith('>') === true;
}

function trimmed(lines: string[]): string[] {
  let from = 0;
  let to = lines.length;
  while (from < to && (lines[from] ?? '').trim() === '') from += 1;
  while (to > from && (lines[to - 1] ?? '').trim() === '') to -= 1;
  return lines.slice(from, to);
}

const EMOJI_ONLY = /^(?:\p{Extended_Pictographic}(?:\p{Emoji_Modifier}|\u{FE0F}|\u{200D}\p{Extended_Pictographic})*\s*){1,3}$/u;

/** One to three emoji and nothing else: shown large. */
export function emojiOnly(body: string): boolean {
  return body.length <= 48 && EMOJI_ONLY.test(body.trim());
}

/** One line of plain words, for quotes, previews and notices. */
export function oneLine(body: string, max = 160): string {
  const blocks = parse(body).map((block) => (block.kind === 'code' ? block.text : wordsOf(block.spans)));
  const points = [...blocks.join(' ').replace(/\s+/g, ' ').trim()];
  return points.length > max ? `${points.slice(0, max - 1).join('')}…` : points.join('');
}

function wordsOf(spans: Span[]): string {
  return spans.map((span) => ('spans' in span ? wordsOf(span.spans) : span.text)).join('');
}
