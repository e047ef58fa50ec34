//! Presence, users' own feeds and replaced sessions over several nodes.

use super::cluster::Cluster;
use super::*;

/// Longer than anything that presence does after a failure.
const CORRECT_WITHIN: Duration = Duration::from_secs(5);

impl Cluster {
    fn node(&self, number: u64) -> &Node {
        &self.nodes[usize::try_from(number - 1).expect("small")]
    }
}

/// A user of the same tenant in the shard that a test wants.
fn in_shard(caller: &Caller, shard: u8) -> Caller {
    let mut bytes = *caller.user.0.as_bytes();
    bytes[15] = shard;
    Caller { user: UserId(Uuid::from_bytes(bytes)), ..caller.clone() }
}

/// What `watcher` saw of presence, in order.
fn seen(watcher: &Client) -> Vec<String> {
    let presence = watcher.seen.iter().filter(|frame| frame["type"] == "presence");
    presence.map(|frame| frame["status"].as_str().expect("a status").to_owned()).collect()
}

async fn pass(client: &mut Client, time: Duration) {
    let until = tokio::time::Instant::now() + time;
    while client.ended.is_none() {
        if tokio::time::timeout_at(until, client.read()).await.is_err() {
            return;
        }
    }
}

/// Every shard has its home somewhere: with 16 of them each of three nodes is the home of some.
fn shards() -> impl Iterator<Item = u8> {
    0..16
}

#[tokio::test(start_paused = true)]
async fn presence_reaches_those_who_watch_on_any_node() {
    let cluster = Cluster::start(3).await;
    let ann = cluster.node(1).user("ann").await;
    for shard in shards() {
        let bob = in_shard(&Caller { user: UserId::generate(), ..ann.clone() }, shard);
        let mut watcher = cluster.node(2).client(&ann);
        watcher.ask(1, Command::Presence { status: None, watch: Some(vec![bob.user]) });
        watcher.until(|frame| frame["status"] == "Offline").await;
        let phone = cluster.node(3).client(&bob);
        watcher.until(|frame| frame["status"] == "Online").await;
        phone.ask(1, Command::Presence { status: Some(PresenceStatus::Away), watch: None });
        watcher.until(|frame| frame["status"] == "Away").await;
        let laptop = cluster.node(1).client(&bob);
        pass(&mut watcher, Duration::from_secs(1)).await;
        drop(laptop);
        pass(&mut watcher, CORRECT_WITHIN).await;
        drop(phone);
        pass(&mut watcher, CORRECT_WITHIN).await;
        let told = ["Offline", "Online", "Away", "Online", "Away", "Offline"];
        assert_eq!(seen(&watcher), told, "shard {shard}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reconnect_on_another_node_within_the_grace_is_not_seen() {
    let cluster = Cluster::start(3).await;
    let ann = cluster.node(1).user("ann").await;
    for shard in shards() {
        let bob = in_shard(&Caller { user: UserId::generate(), ..ann.clone() }, shard);
        let before = cluster.node(1).client(&bob);
        tokio::time::sleep(Duration::from_secs(3)).await;
        let mut watcher = cluster.node(3).client(&ann);
        watcher.ask(1, Command::Presence { status: None, watch: Some(vec![bob.user]) });
        watcher.until(|frame| frame["status"] == "Online").await;
        drop(before);
        pass(&mut watcher, limits::PRESENCE_GRACE / 2).await;
        let _after = cluster.node(2).client(&bob);
        pass(&mut watcher, 2 * CORRECT_WITHIN).await;
        assert_eq!(seen(&watcher), ["Online"], "shard {shard}");
    }
}

#[tokio::test(start_paused = true)]
async fn presence_is_right_again_after_a_node_died() {
    for dies in 1..=3 {
        let mut cluster = Cluster::start(3).await;
        let ann = cluster.node(1).user("ann").await;
        let lives: Vec<u64> = (1..=3).filter(|node| *node != dies).collect();
        // Whoever was the home: some users stay, some were on the node that died.
        let mut clients = Vec::new();
        let mut watched = Vec::new();
        for shard in shards() {
            let here = in_shard(&Caller { user: UserId::generate(), ..ann.clone() }, shard);
            let gone = in_shard(&Caller { user: UserId::generate(), ..ann.clone() }, shard);
            clients.push(cluster.node(lives[0]).client(&here));
            clients.push(cluster.node(dies).client(&gone));
            watched.push((here.user, gone.user));
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        let mut watcher = cluster.node(lives[1]).client(&ann);
        let users = watched.iter().flat_map(|(here, gone)| [*here, *gone]).collect();
        watcher.ask(1, Command::Presence { status: None, watch: Some(users) });
        pass(&mut watcher, Duration::from_secs(3)).await;
        assert_eq!(seen(&watcher), vec!["Online"; 32]);
        watcher.seen.clear();
        cluster.end(dies);
        pass(&mut watcher, CORRECT_WITHIN).await;
        assert_eq!(seen(&watcher), vec!["Offline"; 16], "node {dies} died");
    }
}

#[tokio::test(start_paused = true)]
async fn presence_is_right_again_after_links_broke() {
    let cluster = Cluster::start(3).await;
    let ann = cluster.node(1).user("ann").await;
    let users: Vec<Caller> = shards()
        .map(|shard| in_shard(&Caller { user: UserId::generate(), ..ann.clone() }, shard))
        .collect();
    let mut watcher = cluster.node(1).client(&ann);
    let watch = users.iter().map(|user| user.user).collect();
    watcher.ask(1, Command::Presence { status: None, watch: Some(watch) });
    pass(&mut watcher, CORRECT_WITHIN).await;
    let pairs = [(1, 2), (1, 3), (2, 3)].map(|(one, other)| (NodeId(one), NodeId(other)));
    pairs.iter().for_each(|(one, other)| cluster.mesh.cut(*one, *other));
    let there: Vec<Client> = users.iter().map(|user| cluster.node(3).client(user)).collect();
    tokio::time::sleep(Duration::from_secs(20)).await;
    pairs.iter().for_each(|(one, other)| cluster.mesh.heal(*one, *other));
    pass(&mut watcher, CORRECT_WITHIN).await;
    assert_eq!(seen(&watcher)[16..], vec!["Online"; 16]);
    watcher.seen.clear();
    drop(there);
    // What says that they went is lost, again and again.
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        pairs.iter().for_each(|(one, other)| cluster.mesh.interrupt(*one, *other));
    }
    pass(&mut watcher, CORRECT_WITHIN).await;
    assert_eq!(seen(&watcher), vec!["Offline"; 16]);
}

#[tokio::test(start_paused = true)]
async fn presence_comes_back_after_a_crash_of_any_part() {
    for crashes in 1..=3 {
        let cluster = Cluster::start(3).await;
        let ann = cluster.node(1).user("ann").await;
        for shard in shards() {
            let bob = in_shard(&Caller { user: UserId::generate(), ..ann.clone() }, shard);
            let phone = cluster.node(2).client(&bob);
            tokio::time::sleep(Duration::from_secs(3)).await;
            let mut watcher = cluster.node(3).client(&ann);
            watcher.ask(1, Command::Presence { status: None, watch: Some(vec![bob.user]) });
            watcher.until(|frame| frame["status"] == "Online").await;
            cluster.node(crashes).chat.crash_presence(bob.user);
            pass(&mut watcher, 2 * CORRECT_WITHIN).await;
            assert!(seen(&watcher).iter().all(|status| status == "Online"));
            drop(phone);
            watcher.until(|frame| frame["status"] == "Offline").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_is_told_of_their_own_marks_and_rooms_once_on_every_node() {
    let cluster = Cluster::start(3).await;
    let ann = cluster.node(1).user("ann").await;
    for shard in shards() {
        let name = format!("bob{shard}");
        let bob = in_shard(&cluster.node(1).user(&name).await, shard);
        cluster.node(1).history.add_user(bob.user, &name);
        let room = cluster.node(1).room(&ann, &name, RoomKind::Private).await;
        let mut devices: Vec<Client> =
            (1..=3).chain(1..=3).map(|node| cluster.node(node).client(&bob)).collect();
        for device in &mut devices {
            device.until(|frame| frame["type"] == "welcome").await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let add = Change::Add {
            user: bob.user,
            username: name.as_str().into(),
            role: Some(Role::Member),
        };
        cluster.node(1).chat.post(&ann, room, Key::generate(), add).await.expect("added");
        tokio::time::sleep(Duration::from_secs(1)).await;
        devices[1].ask(1, Command::Read { room, seq: Seq(2) });
        for device in &mut devices {
            pass(device, Duration::from_secs(1)).await;
            let me: Vec<_> = device.seen.iter().filter(|frame| frame["type"] == "me").collect();
            let [added, read] = me[..] else { panic!("told {me:?}") };
            assert_eq!((&added["role"], &added["rev"]), (&json!("member"), &json!(1)));
            assert_eq!((&read["read"], &read["rev"]), (&json!(2), &json!(2)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_client_coming_again_on_another_node_replaces_its_old_session() {
    let cluster = Cluster::start(3).await;
    let (ann, eve) = (cluster.node(1).user("ann").await, cluster.node(1).user("eve").await);
    for shard in shards() {
        let ann = in_shard(&ann, shard);
        let (mut old, mut other) = (cluster.node(1).client(&ann), cluster.node(1).client(&ann));
        old.until(|frame| frame["type"] == "welcome").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        // Somebody else's claim changes nothing.
        let _eve = cluster.node(3).client_after(&eve, Some(other.session.id()));
        let mut new = cluster.node(2).client_after(&ann, Some(old.session.id()));
        old.until(|frame| frame["type"] == "bye").await;
        assert_eq!(old.ended.as_ref().map(|closing| closing.code), Some(CloseCode::Replaced));
        pass(&mut other, CORRECT_WITHIN).await;
        pass(&mut new, CORRECT_WITHIN).await;
        assert!(other.ended.is_none() && new.ended.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_who_is_signed_out_loses_the_sessions_on_every_node() {
    let cluster = Cluster::start(3).await;
    let (ann, bob) = (cluster.node(1).user("ann").await, cluster.node(1).user("bob").await);
    let mut clients: Vec<Client> = (1..=3).map(|node| cluster.node(node).client(&ann)).collect();
    let mut others: Vec<Client> = (1..=3).map(|node| cluster.node(node).client(&bob)).collect();
    cluster.node(2).chat.end_sessions_of(ann.tenant, ann.user);
    for client in &mut clients {
        client.until(|frame| frame["type"] == "bye").await;
        let code = client.ended.as_ref().map(|closing| closing.code);
        assert_eq!(code, Some(CloseCode::Unauthenticated));
    }
    for other in &mut others {
        pass(other, Duration::from_secs(1)).await;
        assert!(other.ended.is_none());
    }
}
