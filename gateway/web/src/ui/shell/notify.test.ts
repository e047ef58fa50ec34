import { describe, expect, it } from 'vitest';
import type { RoomItem, User } from '../../state/types.ts';
import { Calls, totalCalls } from './notify.ts';

function room(id: string, over: Partial<RoomItem>): RoomItem {
  return {
    id, kind: 'public', title: id, topic: '', slowModeSeconds: 0, role: 'member', unread: 0, mentions: 0, head: 0, read: 0,
    lastAt: null, muted: false, with: null, ...over,
  };
}

const direct = (unread: number, muted = false) =>
  room('d', { kind: 'direct', unread, muted, with: { id: 'u', username: 'una' } });

const fullNameOf = ({ username }: User): string => `Somebody (@${username})`;

describe('calls for attention', () => {
  it('are what grew, and nothing at first', () => {
    const calls = new Calls(fullNameOf);
    expect(calls.take([room('a', { mentions: 3 }), direct(2)])).toEqual([]);
    expect(calls.take([room('a', { mentions: 4 }), direct(2)]).map((call) => call.room)).toEqual(['a']);
    expect(calls.take([room('a', { mentions: 0 }), direct(3)]).map((call) => call.room)).toEqual(['d']);
  });

  it('say by the username as well who wrote', () => {
    const calls = new Calls(fullNameOf);
    calls.take([room('a', {}), direct(0)]);
    expect(calls.take([room('a', { mentions: 1 }), direct(1)]).map((call) => call.title)).toEqual(['a', 'Somebody (@una)']);
  });

  it('are not made by unread messages of a room', () => {
    const calls = new Calls(fullNameOf);
    calls.take([room('a', {})]);
    expect(calls.take([room('a', { unread: 9 })])).toEqual([]);
  });

  it('are none from a muted conversation', () => {
    expect(totalCalls([direct(5, true), direct(2), room('a', { mentions: 1 })])).toBe(3);
  });
});
