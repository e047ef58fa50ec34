// What `GET /api/cluster` answers, the cluster as the node that answers sees it, and `GET /api/cluster/rooms`.

export type NodeState = 'up' | 'draining' | 'down';

export interface NodeReport {
  id: number;
  name: string;
  control: string;
  data: string;
  state: NodeState;
  shards: number;
  rooms: number;
  sessions: number;
  events_per_second: number;
  version: string;
}

export interface RaftReport {
  leader: number | null;
  term: number;
  last_log: number;
  applied: number;
  voters: number[];
  learners: number[];
  /** On the leader: how many entries each other node is behind. */
  lag: [number, number][];
}

export interface ShardReport {
  shard: number;
  owner: number | null;
  epoch: number;
  gen: number;
  moving_to: number | null;
  pinned_to: number | null;
}

export interface LinkReport {
  peer: number;
  kind: string;
  connected: boolean;
  version: number | null;
  relayed_by: number | null;
  rtt_ms: number | null;
  queued_bytes: number;
  interruptions: number;
}

export interface MoveReport {
  shard: number;
  from: number | null;
  to: number;
  epoch: number;
  /** `Date.now()` scale. */
  at: number;
  cause: string;
}

export interface ClusterReport {
  cluster: string;
  node: number;
  lease: boolean;
  raft: RaftReport;
  nodes: NodeReport[];
  oldest_version: string | null;
  shards: ShardReport[];
  links: LinkReport[];
  moves: MoveReport[];
}

export interface RoomReport {
  room: string;
  /** Null where the directory does not know it any more. */
  kind: 'public' | 'private' | 'direct' | 'lobby' | null;
  /** A direct conversation has none. */
  name: string | null;
  shard: number;
  owner: number | null;
  events_per_second: number;
  deliveries_per_second: number;
  sessions: number;
}

export interface BusiestRooms {
  /** The busiest first. */
  rooms: RoomReport[];
  /** Nodes that did not answer in time. */
  silent: number[];
}

/** What rooms are compared by. */
export function workOf(room: RoomReport): number {
  return room.events_per_second + room.deliveries_per_second;
}

/** A room's work in percent of the busiest room's. */
export function share(room: RoomReport, most: number): number {
  return most > 0 ? Math.round((workOf(room) / most) * 1_000) / 10 : 0;
}

/** "node-2 (2)"; the number is what the map of shards shows. */
export function nameOf(report: ClusterReport, id: number | null): string {
  if (id === null) return 'nobody';
  const node = report.nodes.find((one) => one.id === id);
  return node === undefined ? `a removed node (${id})` : `${node.name} (${id})`;
}

/** What serves nothing at the moment, or soon something else. */
export function troubles(report: ClusterReport): string[] {
  const found: string[] = [];
  if (!report.lease) found.push('This node has no lease: it does not hear from the Raft leader.');
  if (report.raft.leader === null) found.push('No Raft leader is known here.');
  for (const node of report.nodes) if (node.state === 'down') found.push(`${nameOf(report, node.id)} is down.`);
  const orphans = report.shards.filter((shard) => shard.owner === null).length;
  if (orphans > 0) found.push(`${orphans} ${orphans === 1 ? 'shard has' : 'shards have'} no owner.`);
  return found;
}

/** Which shards a node has, as ranges: "0–11, 14". */
export function ranges(shards: readonly number[]): string {
  const parts: string[] = [];
  let at = 0;
  while (at < shards.length) {
    const first = shards[at] as number;
    let last = first;
    while (shards[at + 1] === last + 1) {
      at += 1;
      last += 1;
    }
    parts.push(first === last ? String(first) : `${first}–${last}`);
    at += 1;
  }
  return parts.join(', ');
}
