//! What a reader of the design would try first, one scenario each.

use super::*;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn settled() -> Sim {
    let mut sim = Sim::new();
    sim.pass(seconds(10), true);
    sim
}

#[test]
fn a_watcher_hears_of_a_user_on_another_node() {
    let mut sim = settled();
    let [one, two] = sim.others()[..] else { panic!("three nodes") };
    sim.watch(one, 1, 1);
    sim.pass(seconds(1), true);
    assert_eq!(sim.told.last[&(one, session(1), who(1))], PresenceStatus::Offline);
    sim.set(two, 1, 2, PresenceStatus::Online);
    sim.pass(seconds(1), true);
    assert_eq!(sim.told.last[&(one, session(1), who(1))], PresenceStatus::Online);
    let count = sim.told.count;
    // A second device elsewhere, and its end, change nothing that is seen.
    sim.set(sim.home(), 1, 3, PresenceStatus::Away);
    sim.pass(seconds(1), true);
    sim.end(sim.home(), 1, 3);
    sim.pass(seconds(10), true);
    assert_eq!(sim.told.count, count);
}

#[test]
fn a_reconnect_on_another_node_is_not_seen() {
    let mut sim = settled();
    let [one, two] = sim.others()[..] else { panic!("three nodes") };
    sim.watch(one, 1, 1);
    sim.set(one, 1, 2, PresenceStatus::Online);
    sim.pass(seconds(1), true);
    let count = sim.told.count;
    sim.end(one, 1, 2);
    sim.pass(limits::PRESENCE_GRACE / 2, true);
    sim.set(two, 1, 3, PresenceStatus::Online);
    sim.pass(seconds(60), true);
    assert_eq!(sim.told.count, count);
}

#[test]
fn users_of_a_dead_node_are_offline_after_the_grace() {
    let mut sim = settled();
    let [one, two] = sim.others()[..] else { panic!("three nodes") };
    sim.watch(one, 1, 1);
    sim.set(two, 1, 2, PresenceStatus::Online);
    sim.pass(seconds(1), true);
    sim.kill(two);
    sim.heal();
    sim.pass(limits::PRESENCE_GRACE / 2, true);
    assert_eq!(sim.told.last[&(one, session(1), who(1))], PresenceStatus::Online);
    sim.pass(limits::PRESENCE_GRACE, true);
    assert_eq!(sim.told.last[&(one, session(1), who(1))], PresenceStatus::Offline);
}

#[test]
fn a_new_home_tells_nobody_that_everybody_is_offline() {
    let mut sim = settled();
    let [one, two] = sim.others()[..] else { panic!("three nodes") };
    for user in 0..USERS {
        sim.watch(one, user, 1);
        sim.set(two, user, 2, PresenceStatus::Online);
    }
    sim.pass(seconds(1), true);
    let count = sim.told.count;
    let home = sim.home();
    sim.kill(home);
    // The new home and its watchers notice first, those with the users a second later.
    let live: BTreeSet<NodeId> = [one, two].into();
    sim.see(one, live.clone());
    sim.pass(seconds(1), true);
    sim.see(two, live);
    sim.pass(seconds(60), true);
    assert_eq!(sim.told.count, count, "nothing was seen of it");
    sim.check().expect("the truth");
}

#[test]
fn a_node_that_joins_becomes_the_home_and_nobody_sees_it() {
    let mut sim = settled();
    let home = sim.home();
    let [one, two] = sim.others()[..] else { panic!("three nodes") };
    sim.kill(home);
    sim.heal();
    sim.pass(seconds(10), true);
    sim.watch(one, 1, 1);
    sim.watch(one, 2, 1);
    sim.set(two, 1, 2, PresenceStatus::Online);
    sim.pass(seconds(5), true);
    let count = sim.told.count;
    sim.start(home);
    sim.heal();
    sim.pass(seconds(20), true);
    assert_eq!(sim.home(), home);
    assert_eq!(sim.told.count, count, "nothing was seen of it");
    // It is the new home that tells now, and the old one kept nothing.
    sim.end(two, 1, 2);
    sim.set(two, 2, 2, PresenceStatus::Away);
    sim.pass(seconds(5), true);
    sim.check().expect("the truth");
    sim.end_everything();
    sim.pass(seconds(20), true);
    assert!(sim.nodes.values().all(|node| node.shard.is_empty()));
}

#[test]
fn nothing_goes_to_nodes_that_do_not_watch() {
    let mut sim = settled();
    let [one, two] = sim.others()[..] else { panic!("three nodes") };
    sim.set(one, 1, 1, PresenceStatus::Online);
    sim.pass(seconds(10), true);
    sim.end(one, 1, 1);
    sim.pass(seconds(10), true);
    assert_eq!(sim.net.tells_sent, 0);
    sim.watch(two, 1, 1);
    sim.unwatch(two, 1, 1);
    sim.pass(seconds(1), true);
    let before = sim.net.tells_sent;
    sim.set(one, 1, 1, PresenceStatus::Online);
    sim.pass(seconds(10), true);
    assert_eq!(sim.net.tells_sent, before);
}

#[test]
fn flapping_on_two_nodes_is_told_at_a_bounded_rate() {
    let mut sim = settled();
    let [one, two] = sim.others()[..] else { panic!("three nodes") };
    sim.watch(one, 1, 9);
    sim.pass(seconds(1), true);
    let (sent, count) = (sim.net.sent, sim.told.count);
    for round in 0..1_000u64 {
        let status = [PresenceStatus::Away, PresenceStatus::Online][(round % 2) as usize];
        sim.set(two, 1, 2, status);
        sim.set(one, 1, 1, PresenceStatus::Away);
        sim.end(one, 1, 1);
        sim.pass(Duration::from_millis(10), true);
    }
    // Ten seconds.
    let told = sim.told.count - count;
    assert!(told <= 21, "one in half a second, told {told}");
    let frames = sim.net.sent - sent;
    assert!(frames <= 2 * 51 + 51, "one in 200 ms on each of three ways, sent {frames}");
}

#[test]
fn a_notice_reaches_the_nodes_with_sessions_once_and_no_others() {
    for from in all_nodes() {
        let mut sim = settled();
        let (tenant, user) = who(1);
        for node in [NodeId(1), NodeId(2)] {
            sim.set(node, 1, 1, PresenceStatus::Online);
            sim.set(node, 1, 2, PresenceStatus::Online);
        }
        sim.pass(seconds(1), true);
        let saying = Saying::Read { room: RoomId(Uuid::nil()), seq: Seq(1), rev: 2 };
        let word = Word { tenant, user, saying };
        sim.on(from, |shard, now, port| shard.carry(now, word, port));
        sim.pass(seconds(1), true);
        for (id, node) in &sim.nodes {
            // The home hears of it in any case, and has nobody to tell.
            let is_idle_home = *id == sim.home() && *id == NodeId(3) && from != *id;
            let expected = usize::from(*id != from && *id != NodeId(3) || is_idle_home);
            assert_eq!(node.delivered.len(), expected, "from {from} to {id}");
        }
    }
}

#[test]
fn notices_that_cannot_go_are_shed_and_counted() {
    let mut sim = settled();
    let [one, _] = sim.others()[..] else { panic!("three nodes") };
    let (home, (tenant, user)) = (sim.home(), who(1));
    sim.net.cut.insert((one.min(home), one.max(home)));
    let saying = Saying::Replace { session: session(1) };
    for _ in 0..3 * limits::PRESENCE_WORDS_MAX {
        let word = Word { tenant, user, saying };
        sim.on(one, |shard, now, port| shard.carry(now, word, port));
    }
    sim.pass(seconds(1), true);
    assert_eq!(sim.nodes[&one].shed, 3 * limits::PRESENCE_WORDS_MAX);
}

#[test]
fn more_users_than_a_frame_holds_are_told_in_parts() {
    let mut sim = settled();
    let [one, two] = sim.others()[..] else { panic!("three nodes") };
    let many = |n: u16| {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        bytes[15] = SHARD;
        (TenantId(1), UserId(Uuid::from_bytes(bytes)))
    };
    let count = u16::try_from(3 * limits::PRESENCE_BATCH_MAX).expect("few");
    for n in 0..count {
        sim.on(one, |shard, _, _| shard.set(many(n), session(1), PresenceStatus::Online));
        sim.on(two, |shard, _, port| shard.watch(many(n), session(2), port));
    }
    sim.pass(seconds(5), true);
    let home = sim.home();
    Channel::all().for_each(|channel| sim.net.interrupt(one, home, channel));
    Channel::all().for_each(|channel| sim.net.interrupt(two, home, channel));
    sim.pass(seconds(20), true);
    let told = (0..count).map(|n| sim.told.last[&(two, session(2), many(n))]);
    assert_eq!(told.filter(|status| *status == PresenceStatus::Online).count(), usize::from(count));
    // Those that are gone after the next loss are found by what is missing from the whole.
    for n in 0..count {
        let user = many(n);
        sim.on(one, |shard, _, _| shard.end(user, session(1)));
        if n % 100 == 0 {
            Channel::all().for_each(|channel| sim.net.interrupt(one, home, channel));
        }
    }
    sim.pass(seconds(20), true);
    let told = (0..count).map(|n| sim.told.last[&(two, session(2), many(n))]);
    assert_eq!(
        told.filter(|status| *status == PresenceStatus::Offline).count(),
        usize::from(count)
    );
}

#[test]
fn a_node_whose_first_session_begins_at_the_same_time_hears_the_notice() {
    let mut sim = settled();
    let [one, two] = sim.others()[..] else { panic!("three nodes") };
    let (tenant, user) = who(1);
    let word = |rev| {
        let saying = Saying::Read { room: RoomId(Uuid::nil()), seq: Seq(1), rev };
        Word { tenant, user, saying }
    };
    // It is on its way to the home while the home brings the notice to those it knows.
    sim.on(one, |shard, now, port| shard.carry(now, word(2), port));
    sim.deliver_all();
    sim.set(two, 1, 1, PresenceStatus::Online);
    sim.set(one, 1, 2, PresenceStatus::Online);
    sim.pass(seconds(1), true);
    assert_eq!(sim.nodes[&two].delivered, [word(2)]);
    assert_eq!(sim.nodes[&one].delivered, [], "it knows");
    // Once; and nothing old.
    sim.end(two, 1, 1);
    sim.pass(limits::PRESENCE_RECENT, true);
    sim.set(two, 1, 3, PresenceStatus::Online);
    sim.pass(seconds(1), true);
    assert_eq!(sim.nodes[&two].delivered, [word(2)]);
}
