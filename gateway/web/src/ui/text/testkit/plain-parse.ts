// What the parser is to find, written without a thought for how long that takes. Only tests use it: the
// parser of the page must give the same, in time that grows with the text only.
import type { Block, Span } from '../parse.ts';

const NAME = '[A-Za-z0-9_-]{3,50}';
const WORD = /[\p{L}\p{N}_]/u;
const URL_START = /^https?:\/\/[^\s<>"]+/i;
const MENTION_START = new RegExp(`^@(${NAME})(?![A-Za-z0-9_-])`);
const NESTING_MAX = 4;

export function plainParse(body: string): Block[] {
  const blocks: Block[] = [];
  const lines = body.replace(/\r\n?/g, '\n').split('\n');
  let at = 0;
  while (at < lines.length) {
    const line = lines[at] ?? '';
    const fence = /^\s*```\s*([\w+#.-]*)\s*$/.exec(line);
    const end = fence === null ? -1 : closing(lines, at + 1);
    if (fence !== null && end > at) {
      blocks.push({ kind: 'code', text: lines.slice(at + 1, end).join('\n'), language: fence[1] ?? '' });
      at = end + 1;
      continue;
    }
    const quoted = /^>\s?/.test(line);
    const from = at;
    do at += 1;
    while (at < lines.length && continues(lines, at, quoted));
    const text = lines.slice(from, at).map((each) => (quoted ? each.replace(/^>\s?/, '') : each));
    const spans = inline(trimmed(text).join('\n'));
    if (spans.length > 0) blocks.push({ kind: quoted ? 'quote' : 'paragraph', spans });
  }
  return oneLineFence(body) ?? blocks;
}

/** "```code```" in one go, as people also write it. */
function oneLineFence(body: string): Block[] | null {
  const match = /^```([^`\n]+)```$/.exec(body.trim());
  return match === null ? null : [{ kind: 'code', text: (match[1] ?? '').trim(), language: '' }];
}

function closing(lines: string[], from: number): number {
  for (let at = from; at < lines.length; at += 1) {
    if (/^\s*```\s*$/.test(lines[at] ?? '')) return at;
  }
  return -1;
}

function continues(lines: string[], at: number, quoted: boolean): boolean {
  const line = lines[at] ?? '';
  if (/^>\s?/.test(line) !== quoted) return false;
  return !(/^\s*```\s*[\w+#.-]*\s*$/.test(line) && closing(lines, at + 1) > at);
}

function trimmed(lines: string[]): string[] {
  let from = 0;
  let to = lines.length;
  while (from < to && (lines[from] ?? '').trim() === '') from += 1;
  while (to > from && (lines[to - 1] ?? '').trim() === '') to -= 1;
  return lines.slice(from, to);
}

/** The tokens of a run of text. */
function inline(text: string, depth = 0): Span[] {
  const out: Span[] = [];
  let plain = '';
  const flush = (): void => {
    if (plain !== '') out.push({ kind: 'text', text: plain });
    plain = '';
  };
  let at = 0;
  while (at < text.length) {
    const found = spanAt(text, at, depth);
    if (found === null) {
      plain += text[at];
      at += 1;
    } else {
      flush();
      out.push(found.span);
      at = found.end;
    }
  }
  flush();
  return out;
}

function spanAt(text: string, at: number, depth: number): { span: Span; end: number } | null {
  switch (text[at]) {
    case '`':
      return codeAt(text, at);
    case 'h':
    case 'H':
      return linkAt(text, at);
    case '@':
      return mentionAt(text, at);
    case '*':
      return depth < NESTING_MAX ? starredAt(text, at, depth) : null;
    default:
      return null;
  }
}

function codeAt(text: string, at: number): { span: Span; end: number } | null {
  const end = text.indexOf('`', at + 1);
  if (end <= at + 1 || text.slice(at, end).includes('\n')) return null;
  return { span: { kind: 'code', text: text.slice(at + 1, end) }, end: end + 1 };
}

function linkAt(text: string, at: number): { span: Span; end: number } | null {
  if (at > 0 && WORD.test(text[at - 1] ?? '')) return null;
  const match = URL_START.exec(text.slice(at, at + 2048));
  if (match === null) return null;
  const shown = withoutTail(match[0]);
  const href = safeHref(shown);
  return href === null ? null : { span: { kind: 'link', text: shown, href }, end: at + shown.length };
}

/** A sentence's full stop, or a bracket that was opened before the address, is no part of it. */
function withoutTail(url: string): string {
  let end = url.length;
  for (;;) {
    const last = url[end - 1] ?? '';
    const part = url.slice(0, end);
    const open = last === ')' ? '(' : last === ']' ? '[' : '';
    if (open !== '') {
      if (part.split(open).length >= part.split(last).length) return part;
    } else if (!/[.,;:!?'"*_~`]/.test(last)) {
      return part;
    }
    end -= 1;
  }
}

/** The address if it is one of http or https with a host; nothing else becomes a link. */
function safeHref(url: string): string | null {
  try {
    const parsed = new URL(url);
    return (parsed.protocol === 'http:' || parsed.protocol === 'https:') && parsed.hostname !== '' ? parsed.href : null;
  } catch {
    return null;
  }
}

function mentionAt(text: string, at: number): { span: Span; end: number } | null {
  if (at > 0 && WORD.test(text[at - 1] ?? '')) return null;
  const match = MENTION_START.exec(text.slice(at, at + 64));
  if (match === null) return null;
  return { span: { kind: 'mention', text: match[0], name: match[1] ?? '' }, end: at + match[0].length };
}

function starredAt(text: string, at: number, depth: number): { span: Span; end: number } | null {
  const mark = text.startsWith('**', at) ? '**' : '*';
  const from = at + mark.length;
  if (/^[\s*]/.test(text.slice(from, from + 1)) || from >= text.length) return null;
  if (mark === '*' && at > 0 && WORD.test(text[at - 1] ?? '')) return null;
  const end = starEnd(text, from, mark);
  if (end < 0) return null;
  const spans = inline(text.slice(from, end), depth + 1);
  return { span: { kind: mark === '**' ? 'strong' : 'emphasis', spans }, end: end + mark.length };
}

function starEnd(text: string, from: number, mark: string): number {
  for (let at = from + 1; at < text.length; at += 1) {
    if (text[at] === '\n' && text[at + 1] === '\n') return -1;
    if (!text.startsWith(mark, at) || /\s/.test(text[at - 1] ?? ' ')) continue;
    if (mark === '*' && (text[at + 1] === '*' || text[at - 1] === '*')) {
      // Part of a `**`: not the end of the single one, unless three stand together.
      if (text[at + 1] === '*') at += 1;
      continue;
    }
    if (mark === '*' && WORD.test(text[at + 1] ?? '')) continue;
    return at;
  }
  return -1;
}
