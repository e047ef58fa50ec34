import { describe, expect, it } from 'vitest';
import { Changes } from './changes.ts';
import { ANSWER_WAIT, IN_FLIGHT_MAX } from './limits.ts';

function waiting(rooms: string[]): Changes {
  const changes = new Changes();
  rooms.forEach((room, index) => changes.add({ key: `${index + 1}`, room, order: index + 1, ready: true }));
  return changes;
}

describe('changes', () => {
  it('rest in a refused room until none is on the wire, and repeat in order', () => {
    const changes = waiting(['a', 'a', 'b', 'a']);
    expect(changes.due(0)).toEqual(['1', '2', '3', '4']);
    changes.refusedForNow('1', 200);
    expect(changes.due(200)).toEqual([]);
    changes.refusedForNow('4', 0);
    changes.refusedForNow('2', 0);
    expect(changes.due(0)).toEqual([]);
    expect(changes.deadline(0)).toBe(200);
    expect(changes.due(200)).toEqual(['1', '2', '4']);
  });

  it('go again on a new socket when they have no answer', () => {
    const changes = waiting(['a', 'a', 'a']);
    changes.due(0);
    changes.remove('2');
    expect(changes.due(0)).toEqual([]);
    changes.disconnected();
    expect(changes.due(5)).toEqual(['1', '3']);
    expect(changes.isOverdue(5 + ANSWER_WAIT - 1)).toBe(false);
    expect(changes.isOverdue(5 + ANSWER_WAIT)).toBe(true);
  });

  it('wait for those before them in the room that are not on disk', () => {
    const changes = waiting(['a', 'b']);
    changes.add({ key: 'x', room: 'a', order: 0, ready: false });
    expect(changes.due(0)).toEqual(['2']);
    changes.ready('x');
    expect(changes.due(0)).toEqual(['x', '1']);
  });

  it('wait for what another window sends before them, and hold up none that does not', () => {
    const changes = waiting(['a', 'a', 'b']);
    expect(changes.due(0, (key) => key === '1')).toEqual(['2', '3']);
    expect(changes.due(0)).toEqual(['1']);
  });

  it('are on the wire within a bound', () => {
    const changes = waiting(Array.from({ length: IN_FLIGHT_MAX + 5 }, () => 'a'));
    expect(changes.due(0)).toHaveLength(IN_FLIGHT_MAX);
    changes.remove('1');
    expect(changes.due(0)).toEqual([`${IN_FLIGHT_MAX + 1}`]);
  });
});
