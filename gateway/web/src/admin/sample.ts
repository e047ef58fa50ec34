// A healthy cluster of two nodes, for the tests.
import type { ClusterReport } from './report.ts';

export function report(): ClusterReport {
  const node = (id: number) => ({
    id, name: `node-${id}`, control: '', data: '', state: 'up' as const,
    shards: 128, rooms: 3, sessions: 2, events_per_second: 0, version: '0.1.0',
  });
  return {
    cluster: 'c', node: 1, lease: true,
    raft: { leader: 1, term: 3, last_log: 9, applied: 9, voters: [1, 2], learners: [], lag: [[2, 0]] },
    nodes: [node(1), node(2)],
    oldest_version: '0.1.0',
    shards: Array.from({ length: 256 }, (_, shard) => ({
      shard, owner: (shard % 2) + 1, epoch: 1, gen: 1, moving_to: null, pinned_to: null,
    })),
    links: [],
    moves: [],
  };
}
