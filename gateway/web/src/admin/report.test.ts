import { describe, expect, it } from 'vitest';
import { nameOf, ranges, share, troubles, type RoomReport } from './report.ts';
import { report } from './sample.ts';

describe('the report', () => {
  it('names nodes by name and number, also those that are gone', () => {
    expect(nameOf(report(), 2)).toBe('node-2 (2)');
    expect(nameOf(report(), 9)).toBe('a removed node (9)');
    expect(nameOf(report(), null)).toBe('nobody');
  });

  it('has no troubles when all is well, and one sentence for each', () => {
    expect(troubles(report())).toEqual([]);
    const ill = report();
    ill.lease = false;
    ill.raft.leader = null;
    ill.nodes[1]!.state = 'down';
    ill.shards[3]!.owner = null;
    expect(troubles(ill)).toHaveLength(4);
    expect(troubles(ill)).toContain('node-2 (2) is down.');
    expect(troubles(ill)).toContain('1 shard has no owner.');
  });

  it('measures rooms by the busiest', () => {
    const room = (events: number, deliveries: number): RoomReport => ({
      room: 'r', kind: 'public', name: 'n', shard: 0, owner: 1, sessions: 0,
      events_per_second: events, deliveries_per_second: deliveries,
    });
    expect(share(room(2, 8), 10)).toBe(100);
    expect(share(room(1, 0), 30)).toBe(3.3);
    expect(share(room(0, 0), 0)).toBe(0);
  });

  it('writes shards as ranges', () => {
    expect(ranges([])).toBe('');
    expect(ranges([5])).toBe('5');
    expect(ranges([0, 1, 2, 7, 254, 255])).toBe('0–2, 7, 254–255');
  });
});
