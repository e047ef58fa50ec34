import { describe, expect, it } from 'vitest';
import type { Conversation } from '../../state/types.ts';
import { editsOf } from './edits.svelte.ts';

const room = (): Conversation => ({}) as Conversation;

describe('the text of an edit', () => {
  it('is there again when its box is drawn anew, or its room opened', () => {
    const conv = room();
    editsOf(conv).begin('a');
    editsOf(conv).write('a', 'half');
    expect(editsOf(conv).open).toBe('a');
    expect(editsOf(conv).text('a', 'as it was')).toBe('half');
    expect(editsOf(room()).text('a', 'as it was')).toBe('as it was');
  });

  it('is kept while another message is changed', () => {
    const edits = editsOf(room());
    edits.begin('a');
    edits.write('a', 'half');
    edits.begin('b');
    edits.end('b');
    edits.begin('a');
    expect(edits.text('a', 'as it was')).toBe('half');
  });

  it('is gone when it is saved or left', () => {
    const edits = editsOf(room());
    edits.begin('a');
    edits.write('a', 'half');
    edits.end('a');
    expect(edits.open).toBeNull();
    expect(edits.text('a', 'as it was')).toBe('as it was');
  });

  it('that is saved late closes no other box', () => {
    const edits = editsOf(room());
    edits.begin('a');
    edits.begin('b');
    edits.end('a');
    expect(edits.open).toBe('b');
  });
});

/** Until what was promised is known. */
const settled = (): Promise<void> => new Promise((done) => setTimeout(done, 0));

describe('an edit that is being saved', () => {
  it('is gone when it is saved, for whichever box is drawn then', async () => {
    const edits = editsOf(room());
    edits.begin('a');
    edits.write('a', 'whole ');
    await edits.save('a', 'whole', settled());
    expect([edits.open, edits.saving('a'), edits.text('a', 'as it was')]).toEqual([null, null, 'as it was']);
  });

  it('is so for a box that is drawn meanwhile, also after the first was left', async () => {
    const edits = editsOf(room());
    edits.begin('a');
    edits.write('a', 'whole');
    const saved = edits.save('a', 'whole', settled());
    edits.end('a');
    edits.begin('a');
    expect([edits.saving('a'), edits.text('a', 'as it was')]).toEqual([saved, 'whole']);
    await saved;
    expect([edits.open, edits.saving('a')]).toEqual([null, null]);
  });

  it('takes nothing away that was typed since', async () => {
    const edits = editsOf(room());
    edits.begin('a');
    edits.write('a', 'whole');
    const saved = edits.save('a', 'whole', settled());
    edits.write('a', 'whole and more');
    await saved;
    expect([edits.open, edits.text('a', 'whole')]).toEqual(['a', 'whole and more']);
  });

  it('and is refused says why, until it is saved again or left', async () => {
    const edits = editsOf(room());
    const refused = (): Promise<void> => settled().then(() => Promise.reject(new Error('too late')));
    edits.begin('a');
    edits.write('a', 'whole');
    await edits.save('a', 'whole', refused());
    expect([edits.open, edits.fault('a'), edits.text('a', 'as it was')]).toEqual(['a', 'too late', 'whole']);
    const again = edits.save('a', 'whole', refused());
    expect(edits.fault('a')).toBeNull();
    await again;
    expect(edits.fault('a')).toBe('too late');
    edits.end('a');
    expect(edits.fault('a')).toBeNull();
  });
});

describe('the box of an edit', () => {
  it('takes the focus once for each time that it is asked for', () => {
    const edits = editsOf(room());
    edits.begin('a');
    expect([edits.mayTakeFocus('b'), edits.mayTakeFocus('a'), edits.mayTakeFocus('a')]).toEqual([false, true, false]);
    edits.begin('a');
    expect(edits.mayTakeFocus('a')).toBe(true);
  });
});
