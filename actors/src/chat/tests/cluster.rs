//! Several nodes over one log, one directory and links in memory.

use super::*;
use crate::limits;
use crate::ports::directory::Ownership;
use crate::ports::peers::{Channel, Inbox, Malformed, Peers};
use crate::testkit::peers::Mesh;
use crate::vocab::{Epoch, ShardId};
use crate::wire::Envelope;

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

pub(super) struct Cluster {
    pub(super) mesh: Arc<Mesh>,
    directories: Vec<Arc<MemoryDirectory>>,
    pub(super) nodes: Vec<Node>,
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

async fn owned_by(cluster: &Cluster, room: RoomId, node: u64) {
    for _ in 0..1_000 {
        if cluster.owner(room) == NodeId(node) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it was never given to node {node}");
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

/// A node that takes everything and answers nothing.
struct Silent;

impl Inbox for Silent {
    fn frame(&self, _: NodeId, _: Channel, _: &[u8]) -> Result<(), Malformed> {
        Ok(())
    }

    fn interrupted(&self, _: NodeId, _: Channel) {}
}

#[tokio::test(start_paused = true)]
async fn a_subscribe_of_many_rooms_that_do_not_answer_is_answered_in_time_for_those_that_do() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let silent = cluster.mesh.join(NodeId(9));
    silent.attach(Arc::new(Silent));
    let ann = node.user("ann").await;
    let mut rooms = Vec::new();
    for number in 0..3 * limits::SUBSCRIBE_PARALLEL_MAX {
        rooms.push(node.room(&ann, &format!("r{number}"), RoomKind::Public).await);
    }
    // Shards are in the ids, which are made by chance: the first room's stays.
    for room in rooms.iter().filter(|room| room.shard() != rooms[0].shard()) {
        cluster.assign(*room, 9);
    }
    let mut client = node.client(&ann);
    let begun = tokio::time::Instant::now();
    client.ask(1, Command::Subscribe(rooms.iter().map(|room| (*room, None)).collect()));
    let answer = client.answer(1).await;
    assert!(begun.elapsed() <= limits::SUBSCRIBE_WAIT + Duration::from_secs(1));
    let answers = answer["rooms"].as_object().expect("an answer for each room");
    assert_eq!(answers.len(), rooms.len());
    assert_eq!(answers[&rooms[0].to_string()]["head"], 2);
    assert!(answers.values().any(|told| told["error"] == "unavailable"), "{answer}");
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
async fn an_event_costs_the_owner_one_envelope_a_node_however_many_are_in_the_room() {
    let cluster = Cluster::start(3).await;
    let one = &cluster.nodes[0];
    let ann = one.user("ann").await;
    let room = one.room(&ann, "large", RoomKind::Public).await;
    let mut clients: Vec<Client> = Vec::new();
    for number in 1..1_000 {
        let member = one.user(&format!("member-{number}")).await;
        one.chat.post(&member, room, Key::generate(), Change::Join).await.expect("joined");
        clients.push(cluster.nodes[number % 3].client(&member));
    }
    for client in &mut clients {
        client.subscribe(1, room, None).await;
    }
    // Two events of its making, and one of each who joined.
    let head = 2 + clients.len() as u64;
    cluster.mesh.look_at(NodeId(1));
    for n in 1..=5 {
        one.say(&ann, room, "to a thousand").await.expect("posted");
        for client in &mut clients {
            client.event(head + n).await;
        }
    }
    for client in &clients {
        assert_eq!(client.events(), [1, 2, 3, 4, 5].map(|n| head + n));
    }
    let sent = cluster.mesh.sent_by(NodeId(1)).into_iter();
    let sent = sent.map(|(to, frame)| (to, Envelope::decode(&frame).expect("sound")));
    let about_the_room = sent.filter(|(_, envelope)| !matches!(envelope, Envelope::Presence(_)));
    let to: Vec<NodeId> = about_the_room
        .map(|(to, envelope)| match envelope {
            Envelope::Event { .. } => to,
            other => panic!("{other:?}"),
        })
        .collect();
    let count = |node| to.iter().filter(|to| **to == NodeId(node)).count();
    assert_eq!((to.len(), count(2), count(3)), (10, 5, 5), "two for each of five events");
}

#[tokio::test(start_paused = true)]
async fn followers_go_on_when_the_rooms_owner_dies() {
    let mut cluster = Cluster::start(3).await;
    let ann = cluster.nodes[1].user("ann").await;
    let room = cluster.nodes[1].room(&ann, "r", RoomKind::Public).await;
    let mut client = cluster.nodes[1].client(&ann);
    client.subscribe(1, room, None).await;
    cluster.nodes[1].say(&ann, room, "before").await.expect("posted");
    client.event(3).await;
    cluster.end(1);
    client.send(2, room, Key(Uuid::from_u128(77)), "while nobody serves it");
    assert_eq!(client.answer(2).await["code"], "unavailable");
    cluster.assign(room, 3);
    // It was refused for now, so that the client repeats it first.
    for id in 10.. {
        client.send(id, room, Key(Uuid::from_u128(77)), "while nobody serves it");
        if client.answer(id).await["type"] == "ok" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    client.event(4).await;
    cluster.nodes[2].say(&ann, room, "after").await.expect("posted");
    client.event(5).await;
    assert_eq!(client.events(), [3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_planned_move_loses_nothing_and_keeps_the_order_of_a_session() {
    let cluster = Cluster::start(2).await;
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let ann = one.user("ann").await;
    let room = one.room(&ann, "r", RoomKind::Public).await;
    let mut clients = [one.client(&ann), two.client(&ann)];
    for client in &mut clients {
        client.subscribe(1, room, None).await;
    }
    let mut sent = 0u64;
    for round in 0..6u64 {
        let to = if round % 2 == 0 { 2 } else { 1 };
        cluster.directory().move_shard(room.shard(), NodeId(to));
        for _ in 0..4 {
            for client in &clients {
                client.send(100 + sent, room, Key::generate(), &format!("m{sent}"));
                sent += 1;
            }
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
        owned_by(&cluster, room, to).await;
    }
    for (place, client) in clients.iter_mut().enumerate() {
        let mut last = 0;
        for n in (place as u64..sent).step_by(2) {
            let answer = client.answer(100 + n).await;
            assert_eq!(answer["type"], "ok", "{answer}");
            let seq = answer["seq"].as_u64().expect("a seq");
            assert!(seq > last, "a session's sends are in their order");
            last = seq;
        }
        client.event(2 + sent).await;
        let expected: Vec<u64> = (3..=2 + sent).collect();
        assert_eq!(client.events(), expected, "no gap and no repeat");
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_interruption_lost_is_read_from_history() {
    let cluster = Cluster::start(2).await;
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let ann = one.user("ann").await;
    let room = one.room(&ann, "r", RoomKind::Public).await;
    let mut client = two.client(&ann);
    client.subscribe(1, room, None).await;
    one.say(&ann, room, "seen").await.expect("posted");
    client.event(3).await;
    cluster.mesh.cut(NodeId(1), NodeId(2));
    for _ in 0..5 {
        one.say(&ann, room, "missed").await.expect("posted");
    }
    cluster.mesh.heal(NodeId(1), NodeId(2));
    client.event(8).await;
    one.say(&ann, room, "live again").await.expect("posted");
    client.event(9).await;
    assert_eq!(client.events(), [3, 4, 5, 6, 7, 8, 9]);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_room_heals_as_well() {
    let cluster = Cluster::start(2).await;
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let ann = one.user("ann").await;
    let room = one.room(&ann, "r", RoomKind::Public).await;
    let mut client = two.client(&ann);
    client.subscribe(1, room, None).await;
    // Committed, and its envelope lost on the way.
    one.say(&ann, room, "lost on the way").await.expect("posted");
    cluster.mesh.interrupt(NodeId(1), NodeId(2));
    client.event(3).await;
    assert_eq!(client.events(), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_member_who_is_kicked_hears_no_more_on_another_node() {
    let cluster = Cluster::start(2).await;
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let (ann, bob) = (one.user("ann").await, two.user("bob").await);
    let room = one.room(&ann, "r", RoomKind::Public).await;
    two.chat.post(&bob, room, Key::generate(), Change::Join).await.expect("joined");
    let mut client = two.client(&bob);
    client.subscribe(1, room, None).await;
    let kick = Change::Kick { user: bob.user, username: bob.username.clone() };
    one.chat.post(&ann, room, Key::generate(), kick).await.expect("kicked");
    client.event(4).await;
    one.say(&ann, room, "not for bob").await.expect("posted");
    tokio::time::sleep(Duration::from_secs(5)).await;
    while let Ok(()) = tokio::time::timeout(Duration::from_secs(1), client.read()).await {}
    assert_eq!(client.events(), [4]);
    let refused = client.subscribe(2, room, None).await;
    assert_eq!(refused["error"], "forbidden");
}

#[tokio::test(start_paused = true)]
async fn a_kick_in_a_gap_ends_the_feed_all_the_same() {
    let cluster = Cluster::start(2).await;
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let (ann, bob) = (one.user("ann").await, two.user("bob").await);
    let room = one.room(&ann, "r", RoomKind::Public).await;
    two.chat.post(&bob, room, Key::generate(), Change::Join).await.expect("joined");
    let mut client = two.client(&bob);
    client.subscribe(1, room, None).await;
    cluster.mesh.cut(NodeId(1), NodeId(2));
    let kick = Change::Kick { user: bob.user, username: bob.username.clone() };
    one.chat.post(&ann, room, Key::generate(), kick).await.expect("kicked");
    for _ in 0..limits::REPLAY_EVENTS_MAX + 5 {
        one.say(&ann, room, "much").await.expect("posted");
    }
    cluster.mesh.heal(NodeId(1), NodeId(2));
    client.until(|frame| frame["type"] == "gap").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let at = RoomRef { tenant: TenantId::MAIN, room };
    assert_eq!(two.chat.followers(at), 0);
    one.say(&ann, room, "not for bob").await.expect("posted");
    tokio::time::sleep(Duration::from_secs(5)).await;
    while let Ok(()) = tokio::time::timeout(Duration::from_secs(1), client.read()).await {}
    assert!(client.events().is_empty(), "{:?}", client.events());
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_was_fenced_stops_at_once_and_its_followers_find_the_next() {
    let cluster = Cluster::start(2).await;
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let ann = one.user("ann").await;
    let room = one.room(&ann, "r", RoomKind::Public).await;
    let mut client = one.client(&ann);
    client.subscribe(1, room, None).await;
    // Node 1 does not hear of it for now: only the database knows.
    two.history.take_over(room.shard(), Epoch(2));
    let refused = one.say(&ann, room, "too late").await.expect_err("fenced");
    assert_eq!(refused.code, Code::Unavailable);
    let still = one.say(&ann, room, "too late").await.expect_err("held, and nobody serves it");
    assert_eq!(still.code, Code::Unavailable);
    cluster.assign(room, 2);
    two.say(&ann, room, "by the next owner").await.expect("posted");
    client.event(3).await;
    one.say(&ann, room, "through the first").await.expect("posted");
    client.event(4).await;
    assert_eq!(client.events(), [3, 4]);
}

#[tokio::test(start_paused = true)]
async fn typing_is_seen_on_every_node() {
    let cluster = Cluster::start(3).await;
    let [one, two, three] = &cluster.nodes[..] else { panic!("three nodes") };
    let ann = one.user("ann").await;
    let room = one.room(&ann, "r", RoomKind::Public).await;
    let mut clients = [one.client(&ann), two.client(&ann), three.client(&ann)];
    for client in &mut clients {
        client.subscribe(1, room, None).await;
    }
    clients[1].ask(5, Command::Typing { room });
    for place in [0, 2] {
        clients[place].until(|frame| frame["type"] == "typing").await;
    }
    clients[1].answer(5).await;
    assert!(clients[1].seen.iter().all(|frame| frame["type"] != "typing"));
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
async fn a_node_that_nobody_follows_on_is_told_nothing_after_a_while() {
    let cluster = Cluster::start(2).await;
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let ann = one.user("ann").await;
    let room = one.room(&ann, "r", RoomKind::Public).await;
    let mut client = two.client(&ann);
    client.subscribe(1, room, None).await;
    client.ask(2, Command::Unsubscribe(vec![room]));
    client.answer(2).await;
    // The next event finds nobody there, and then the owner may sleep.
    one.say(&ann, room, "hi").await.expect("posted");
    tokio::time::sleep(limits::ROOM_IDLE * 3).await;
    assert_eq!(one.chat.rooms_awake(), 0);
}

#[tokio::test(start_paused = true)]
async fn shards_that_nobody_serves_refuse_after_a_while_and_come_back() {
    let cluster = Cluster::start(2).await;
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let ann = one.user("ann").await;
    let room = one.room(&ann, "r", RoomKind::Public).await;
    let shard: ShardId = room.shard();
    let owned = cluster.directory().ownership(shard).expect("owned");
    cluster.directory().set_ownership(shard, None);
    let refused = two.say(&ann, room, "nobody").await.expect_err("nobody serves it");
    assert_eq!((refused.code, refused.retry_after), (Code::Unavailable, Some(limits::MOVED_RETRY)));
    let waiting = two.say(&ann, room, "held");
    let back = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let owned = Ownership { epoch: Epoch(9), ..owned };
        cluster.directory().set_ownership(shard, Some(owned));
    };
    let (posted, ()) = tokio::join!(waiting, back);
    assert_eq!(posted.expect("held until somebody served it").seq, Seq(3));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_lost_its_cluster_still_shows_history_to_members() {
    let cluster = Cluster::start(2).await;
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let (ann, bob) = (one.user("ann").await, one.user("bob").await);
    let room = one.room(&ann, "r", RoomKind::Private).await;
    one.say(&ann, room, "hi").await.expect("posted");
    cluster.mesh.cut(NodeId(1), NodeId(2));
    cluster.directories[1].cut();
    let read = |caller| two.chat.history(caller, room, Range::Latest, 10, View::Log);
    let (_, page) = read(&ann).await.expect("a member reads");
    assert_eq!(page.as_of, Seq(3));
    assert_eq!(read(&bob).await.expect_err("no member").code, Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_send_to_a_room_whose_node_ended_waits_for_the_next_owner() {
    let mut cluster = Cluster::start(3).await;
    let ann = cluster.nodes[1].user("ann").await;
    let room = cluster.nodes[0].room(&ann, "r", RoomKind::Public).await;
    cluster.nodes[1].say(&ann, room, "before").await.expect("posted");
    cluster.end(1);
    // The other end is told of the interruption first.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let waiting = cluster.nodes[1].say(&ann, room, "waits");
    let taken_over = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cluster.assign(room, 3);
    };
    let (posted, ()) = tokio::join!(waiting, taken_over);
    assert_eq!(posted.expect("it was never refused").seq, Seq(4));
}

#[tokio::test(start_paused = true)]
async fn a_send_on_a_way_that_is_cut_waits_until_it_is_healed_and_not_for_ever() {
    let cluster = Cluster::start(2).await;
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let ann = one.user("ann").await;
    let room = one.room(&ann, "r", RoomKind::Public).await;
    cluster.mesh.cut(NodeId(1), NodeId(2));
    let refused = two.say(&ann, room, "too long").await.expect_err("nobody heals it");
    assert_eq!((refused.code, refused.retry_after), (Code::Unavailable, Some(limits::MOVED_RETRY)));
    let heal = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cluster.mesh.heal(NodeId(1), NodeId(2));
    };
    let (posted, ()) = tokio::join!(two.say(&ann, room, "waits"), heal);
    assert_eq!(posted.expect("it was held").seq, Seq(3));
}
