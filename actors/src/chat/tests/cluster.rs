//! Several nodes over one log, one directory and links in memory.

mod followers;
mod interruptions;
mod owners;

use super::*;
use crate::limits;
use crate::ports::directory::Ownership;
use crate::testkit::peers::Mesh;
use crate::vocab::Epoch;

pub(super) struct Cluster {
    pub(super) mesh: Arc<Mesh>,
    directories: Vec<Arc<MemoryDirectory>>,
    pub(super) nodes: Vec<Node>,
}

/// A room on one node that somebody follows on another.
pub(super) struct Followed<'c> {
    pub(super) one: &'c Node,
    pub(super) ann: Caller,
    pub(super) bob: Caller,
    pub(super) room: RoomId,
    pub(super) client: Client,
}

impl Followed<'_> {
    pub(super) async fn kick_bob(&self) {
        let kick = Change::Kick { user: self.bob.user, username: self.bob.username.clone() };
        self.one.chat.post(&self.ann, self.room, Key::generate(), kick).await.expect("kicked");
    }

    /// More than a replay brings.
    pub(super) async fn say_much(&self) {
        for _ in 0..limits::REPLAY_EVENTS_MAX + 5 {
            self.one.say(&self.ann, self.room, "much").await.expect("posted");
        }
    }

    /// Reads until nothing more comes.
    pub(super) async fn hear_all(&mut self) {
        tokio::time::sleep(Duration::from_secs(5)).await;
        while let Ok(()) = tokio::time::timeout(Duration::from_secs(1), self.client.read()).await {}
    }
}

impl Cluster {
    /// Nodes 1 to `count`; node 1 owns every shard.
    pub(super) async fn start(count: u64) -> Self {
        let mesh = Mesh::new();
        let first = Arc::new(MemoryDirectory::new(NodeId(1)));
        let history = MemoryHistory::new();
        let accounts = Arc::new(MemoryAccounts::default());
        let mut cluster = Self { mesh, directories: Vec::new(), nodes: Vec::new() };
        for number in 1..=count {
            let (directory, history) = match number {
                1 => (first.clone(), history.clone()),
                _ => (Arc::new(first.beside(NodeId(number))), history.another_process()),
            };
            let parts = Parts {
                history: history.clone(),
                members: history.clone(),
                accounts: accounts.clone(),
                directory: directory.clone(),
                frames: Arc::new(Json),
                peers: cluster.mesh.join(NodeId(number)),
                traces: None,
            };
            let chat = Chat::start(parts.clone()).await.expect("started");
            cluster.directories.push(directory);
            cluster.nodes.push(Node { chat, history, parts });
        }
        cluster
    }

    pub(super) fn directory(&self) -> &MemoryDirectory {
        &self.directories[0]
    }

    /// Ann's room is on the first node; Bob, who has joined it, follows it on the second one.
    pub(super) async fn bob_follows(&self) -> Followed<'_> {
        let [one, two] = &self.nodes[..] else { panic!("two nodes") };
        let (ann, bob) = (one.user("ann").await, two.user("bob").await);
        let room = one.room(&ann, "r", RoomKind::Public).await;
        two.chat.post(&bob, room, Key::generate(), Change::Join).await.expect("joined");
        let mut client = two.client(&bob);
        client.subscribe(1, room, None).await;
        Followed { one, ann, bob, room, client }
    }

    /// Gives a room's shard to a node at once, as after the death of its owner.
    pub(super) fn assign(&self, room: RoomId, to: u64) {
        self.assign_from(1, room, to);
    }

    /// The same, going by what a node knows.
    pub(super) fn assign_from(&self, knows: u64, room: RoomId, to: u64) {
        let owned = self.view_of(knows, room).expect("owned");
        let epoch = Epoch(owned.epoch.0 + 1);
        let owned = Ownership { owner: NodeId(to), epoch, moving_to: None, ..owned };
        self.directory().set_ownership(room.shard(), Some(owned));
    }

    /// Who owns a room's shard, as far as a node knows.
    pub(super) fn view_of(&self, node: u64, room: RoomId) -> Option<Ownership> {
        let place = usize::try_from(node - 1).expect("small");
        self.directories[place].ownership(room.shard())
    }

    pub(super) fn end(&mut self, number: u64) {
        self.mesh.end(NodeId(number));
        let node = &self.nodes[usize::try_from(number - 1).expect("small")];
        node.chat.end();
        // Nothing of it is heard of again.
        drop(node.history.restart());
    }

    /// Starts a node that ended again, over the same log.
    pub(super) async fn restart(&mut self, number: u64) -> Arc<Chat> {
        let place = usize::try_from(number - 1).expect("small");
        let history = self.nodes[place].history.another_process();
        let parts = Parts {
            history: history.clone(),
            members: history.clone(),
            peers: self.mesh.join(NodeId(number)),
            traces: None,
            ..self.nodes[place].parts.clone()
        };
        let chat = Chat::start(parts.clone()).await.expect("started");
        self.nodes[place] = Node { chat: chat.clone(), history, parts };
        chat
    }

    pub(super) fn history(&self, number: u64) -> Arc<MemoryHistory> {
        self.nodes[usize::try_from(number - 1).expect("small")].history.clone()
    }

    fn owner(&self, room: RoomId) -> NodeId {
        self.directory().ownership(room.shard()).expect("owned").owner
    }
}

#[tokio::test(start_paused = true)]
async fn a_room_on_another_node_is_like_one_here() {
    let cluster = Cluster::start(2).await;
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let ann = two.user("ann").await;
    let room = two.room(&ann, "far", RoomKind::Public).await;
    let mut here = two.client(&ann);
    let mut there = one.client(&ann);
    assert_eq!(here.subscribe(1, room, None).await["head"], 2);
    there.subscribe(1, room, None).await;
    here.send(2, room, Key::generate(), "from the far node");
    assert_eq!(here.answer(2).await["seq"], 3);
    assert_eq!(here.event(3).await["body"], "from the far node");
    assert_eq!(there.event(3).await["body"], "from the far node");
    there.send(2, room, Key::generate(), "from the owner");
    assert_eq!(here.event(4).await["body"], "from the owner");
    assert_eq!(here.events(), [3, 4]);
    let posted = two.say(&ann, room, "by call").await.expect("posted");
    assert_eq!(posted.seq, Seq(5));
    there.event(5).await;
}

#[tokio::test(start_paused = true)]
async fn a_key_repeated_through_another_node_is_held_once() {
    let cluster = Cluster::start(3).await;
    let ann = cluster.nodes[0].user("ann").await;
    let room = cluster.nodes[0].room(&ann, "r", RoomKind::Public).await;
    let key = Key::generate();
    let mut seqs = Vec::new();
    for node in &cluster.nodes {
        seqs.push(node.chat.post(&ann, room, key, say("once")).await.expect("posted").seq);
    }
    assert_eq!(seqs, [Seq(3), Seq(3), Seq(3)]);
}

#[tokio::test(start_paused = true)]
async fn a_direct_conversation_works_between_nodes_and_needs_no_entry() {
    let cluster = Cluster::start(2).await;
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let (ann, bob) = (one.user("ann").await, two.user("bob").await);
    let other = cluster.nodes[1].parts.accounts.user(TenantId::MAIN, bob.user).await;
    let other = other.expect("read").expect("there");
    let view = two.chat.open_direct(&ann, &other).await.expect("opened");
    let room = view.meta.id;
    let mut clients = [one.client(&ann), two.client(&bob)];
    for client in &mut clients {
        client.subscribe(1, room, None).await;
    }
    clients[1].send(2, room, Key::generate(), "hi");
    assert_eq!(clients[1].answer(2).await["type"], "ok");
    assert_eq!(clients[0].event(3).await["body"], "hi");
    assert_eq!(cluster.directory().room_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn each_node_names_the_rooms_that_are_busy_there() {
    let cluster = Cluster::start(2).await;
    let [owner, other] = &cluster.nodes[..] else { unreachable!("two nodes") };
    let (ann, bob) = (owner.user("ann").await, owner.user("bob").await);
    let busy = owner.room(&ann, "busy", RoomKind::Public).await;
    let quiet = owner.room(&ann, "quiet", RoomKind::Public).await;
    let mut clients = [owner.client(&ann), other.client(&bob), other.client(&bob)];
    owner.chat.post(&bob, busy, Key::generate(), Change::Join).await.expect("joined");
    for client in &mut clients {
        client.subscribe(1, busy, None).await;
    }
    // Who looks first begins anew: nothing of before counts.
    let (at_owner, at_other) = tokio::join!(owner.chat.busiest(), other.chat.busiest());
    assert_eq!((at_owner.len(), at_other.len()), (0, 0));
    for _ in 0..10 {
        owner.say(&ann, busy, "hi").await.expect("said");
    }
    owner.say(&ann, quiet, "hm").await.expect("said");
    let last = owner.say(&ann, busy, "ho").await.expect("said").seq.0;
    for client in &mut clients {
        client.event(last).await;
    }
    let room = |room| RoomRef { tenant: TenantId::MAIN, room };
    let (at_owner, at_other) = tokio::join!(owner.chat.busiest(), other.chat.busiest());
    let rooms: Vec<RoomRef> = at_owner.iter().map(|load| load.room).collect();
    assert_eq!(rooms, [room(busy), room(quiet)]);
    let load = at_owner[0];
    assert_eq!((load.sessions, load.events_per_second), (1, load.deliveries_per_second));
    assert!(load.events_per_second > 0.0 && at_owner[1].deliveries_per_second == 0.0);
    assert_eq!(at_other.len(), 1, "only what it delivers: {at_other:?}");
    let load = at_other[0];
    assert_eq!((load.room, load.sessions, load.events_per_second), (room(busy), 2, 0.0));
    // It is over when it is over.
    tokio::time::sleep(limits::BUSIEST_MARK).await;
    owner.chat.busiest().await;
    tokio::time::sleep(limits::BUSIEST_MARK).await;
    owner.chat.busiest().await;
    assert_eq!(owner.chat.busiest().await, []);
}
