import { describe, expect, it } from 'vitest';
import { seeded } from '../../sync/testkit/random.ts';
import type { Work } from './next.ts';
import { oneLine, parse } from './parse.ts';
import { plainParse } from './testkit/plain-parse.ts';

/** The longest message. */
const LENGTH = 16 * 1024;
/** Looks at one character at most, whatever stands around it: a few for each level of emphasis. */
const LOOKS_MAX = 24;

const full = (piece: string): string => piece.repeat(Math.ceil(LENGTH / piece.length)).slice(0, LENGTH);

describe('the work of reading a message', () => {
  const cases: [string, string][] = [
    ['stars that nothing closes', full('*a ')],
    ['pairs of stars that nothing closes', full('**a ')],
    ['stars in pairs and alone', full('*a **b ')],
    ['stars before words', full('*a*b')],
    ['only stars', full('*')],
    ['stars in emphasis in emphasis', `*a ${full('**b *c ').slice(0, LENGTH - 6)}**d*`],
    ['fences that nothing closes', full('```a\n')],
    ['fences among words', full('x\n```a\n')],
    ['one fence and spaces', `\`\`\`${full(' ').slice(4)}!`],
    ['back-ticks over lines', full('`\n')],
    ['back-ticks', full('`')],
    ['hosts that are none', full('http://[')],
    ['hosts that are none, and brackets', full(`${'http://['.repeat(128)}${')'.repeat(1024)}`)],
    ['addresses in brackets', full('http://a)')],
    ['an address and brackets', full(`http://a${')'.repeat(2040)}`)],
    ['slashes', full('http:////')],
    ['schemes', full('http://')],
    ['schemes and spaces', full('http:// ')],
    ['mentions', full('@a-')],
    ['names that are too long', full(`@${'-'.repeat(51)}`)],
    ['quotes', full('> *a\n')],
    ['empty lines', full('\n')],
  ];

  it.each(cases)('grows with its length only: %s', (_, body) => {
    const work: Work = { looks: 0 };
    parse(body, work);
    expect(work.looks).toBeLessThan(LOOKS_MAX * LENGTH);
  });

  it('is bounded for texts that nobody thought of', () => {
    for (let seed = 1; seed <= 300; seed += 1) {
      const random = seeded(seed);
      const pieces = Array.from({ length: 1 + Math.floor(random() * 6) }, () => pick(random));
      const body = full(pieces.join(''));
      const work: Work = { looks: 0 };
      parse(body, work);
      expect(work.looks, `seed ${seed}: ${JSON.stringify(pieces)}`).toBeLessThan(LOOKS_MAX * LENGTH);
    }
  });

  it('is bounded in one line too', () => {
    expect(oneLine(full('**a '))).toHaveLength(160);
  });
});

describe('the parser', () => {
  it('finds what a plain one finds, in random texts', () => {
    for (let seed = 1; seed <= 6_000; seed += 1) {
      const random = seeded(seed);
      const length = 1 + Math.floor(random() * random() * 120);
      const body = Array.from({ length }, () => pick(random)).join('');
      expect(parse(body), `seed ${seed}: ${JSON.stringify(body)}`).toEqual(plainParse(body));
    }
  });

  it('finds it where addresses are cut for their length', () => {
    for (let seed = 1; seed <= 40; seed += 1) {
      const random = seeded(seed);
      const body = Array.from({ length: 200 }, () => pick(random, ADDRESSES).repeat(1 + Math.floor(random() ** 4 * 700))).join('');
      expect(parse(body), `seed ${seed}`).toEqual(plainParse(body));
    }
  });
});

const ADDRESSES = [
  'http://', 'https://', 'HTTP://', 'h', '[', ']', '(', ')', '.', ',', '/', '\\', '?', '#', ':', '@', 'a', 'b.c', '[::1]', '99999', '*', '_', '\u0001', '%', '|', '😀',
];
const PIECES = [
  ...ADDRESSES, '*', '*', '*', '**', '***', '`', '`', '```', '```', '\n', '\n', '\n\n', '\r\n', ' ', ' ', ' ', '\t', '> ', '>', '@anna', '@a', '-', '_', 'é',
  '```\n', '\n```', '\n```rust\n', '\u2028', '\u00a0', '<', '"', '1', 'word', 'http://a.example/x', '@'.concat('x'.repeat(50)), '\ud83d',
];

function pick(random: () => number, from: readonly string[] = PIECES): string {
  return from[Math.floor(random() * from.length)] ?? '';
}
