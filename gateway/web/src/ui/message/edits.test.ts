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

describe('the box of an edit', () => {
  it('takes the focus once for each time that it is asked for', () => {
    const edits = editsOf(room());
    edits.begin('a');
    expect([edits.mayTakeFocus('b'), edits.mayTakeFocus('a'), edits.mayTakeFocus('a')]).toEqual([false, true, false]);
    edits.begin('a');
    expect(edits.mayTakeFocus('a')).toBe(true);
  });
});
