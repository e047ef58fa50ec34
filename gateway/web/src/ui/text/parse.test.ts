import { describe, expect, it } from 'vitest';
import { safeHref } from './address.ts';
import { inline } from './inline.ts';
import { emojiOnly, oneLine, parse, type Span } from './parse.ts';

const text = (value: string): Span => ({ kind: 'text', text: value });
const link = (value: string, href = value): Span => ({ kind: 'link', text: value, href });

describe('links', () => {
  it('are made of http and https only', () => {
    expect(inline('see https://a.example/x and http://b.example')).toEqual([
      text('see '), link('https://a.example/x'), text(' and '), link('http://b.example', 'http://b.example/'),
    ]);
    expect(inline('javascript:alert(1) data:text/html,x file:///etc')).toEqual([
      text('javascript:alert(1) data:text/html,x file:///etc'),
    ]);
    expect(safeHref('javascript:alert(1)')).toBeNull();
    expect(safeHref('https://')).toBeNull();
  });

  it('leave a sentence its full stop and its brackets', () => {
    expect(inline('(https://a.example/x).')).toEqual([text('('), link('https://a.example/x'), text(').')]);
    expect(inline('https://a.example/w_(x)')).toEqual([link('https://a.example/w_(x)')]);
  });

  it('are not found inside a word', () => {
    expect(inline('xhttps://a.example')).toEqual([text('xhttps://a.example')]);
  });
});

describe('mentions', () => {
  it('begin outside a word and take the whole name', () => {
    expect(inline('hi @anna-b, mail a@bob.example')).toEqual([
      text('hi '), { kind: 'mention', text: '@anna-b', name: 'anna-b' }, text(', mail a@bob.example'),
    ]);
  });

  it('need a name that can be one', () => {
    expect(inline('@ab')).toEqual([text('@ab')]);
    expect(inline(`@${'x'.repeat(51)}`)).toEqual([text(`@${'x'.repeat(51)}`)]);
  });
});

describe('emphasis', () => {
  it('nests, and holds links', () => {
    expect(inline('**very *much* so**')).toEqual([
      { kind: 'strong', spans: [text('very '), { kind: 'emphasis', spans: [text('much')] }, text(' so')] },
    ]);
  });

  it('leaves sums, lists and stars inside words alone', () => {
    for (const plain of ['2 * 3 * 4', '* one', 'a*b*c', '**', '*', '** x **', '*open']) {
      expect(inline(plain)).toEqual([text(plain)]);
    }
  });

  it('does not go deeper than it can be read', () => {
    expect(() => inline('*a '.repeat(2_000) + '*'.repeat(2_000))).not.toThrow();
  });
});

describe('code', () => {
  it('keeps what stands in it', () => {
    expect(inline('run `a *b* @carl` now')).toEqual([text('run '), { kind: 'code', text: 'a *b* @carl' }, text(' now')]);
  });

  it('in a fence is a block with its language', () => {
    expect(parse('look:\n```rust\nfn main() {}\n\n  x\n```\ndone')).toEqual([
      { kind: 'paragraph', spans: [text('look:')] },
      { kind: 'code', text: 'fn main() {}\n\n  x', language: 'rust' },
      { kind: 'paragraph', spans: [text('done')] },
    ]);
  });

  it('in a fence that is never closed stays text', () => {
    expect(parse('```\nx')).toEqual([{ kind: 'paragraph', spans: [text('```\nx')] }]);
  });

  it('in a fence of one line is a block too', () => {
    expect(parse('```let x = 1```')).toEqual([{ kind: 'code', text: 'let x = 1', language: '' }]);
  });
});

describe('blocks', () => {
  it('are quotes where lines begin with a bracket', () => {
    expect(parse('> one\n> two\nthree')).toEqual([
      { kind: 'quote', spans: [text('one\ntwo')] },
      { kind: 'paragraph', spans: [text('three')] },
    ]);
  });

  it('never lose a word of markup-like text', () => {
    expect(parse('<img src=x onerror=alert(1)>')).toEqual([
      { kind: 'paragraph', spans: [text('<img src=x onerror=alert(1)>')] },
    ]);
  });

  it('are read in time that grows with the text only', () => {
    const body = '*a `b @c https://d '.repeat(860);
    expect(parse(body).length).toBe(1);
  });
});

describe('short forms', () => {
  it('know emoji that stand alone', () => {
    expect(emojiOnly('🎉')).toBe(true);
    expect(emojiOnly('👍🏽 ❤️')).toBe(true);
    expect(emojiOnly('👩‍💻')).toBe(true);
    expect(emojiOnly('ok 🎉')).toBe(false);
    expect(emojiOnly('12')).toBe(false);
  });

  it('make one line of many, and cut between characters', () => {
    expect(oneLine('a\n\n**b** `c`\n```\nd\n```')).toBe('a b c d');
    expect(oneLine('> **a** *b* **c** 2 * 3\n@anna https://a.example/x')).toBe('a b c 2 * 3 @anna https://a.example/x');
    expect(oneLine('🎉'.repeat(10), 5)).toBe(`${'🎉'.repeat(4)}…`);
  });
});
