//! Nodes that come back as others than they were: at another address, or with a data directory from
//! an old backup.

use super::super::damage::copy;
use super::*;

fn restart() -> Start {
    Start::Join { seeds: Vec::new() }
}

/// What the data directory of a node holds now.
fn backup(town: &Town, name: &str) -> TempDir {
    let kept = folder();
    copy(town.folders[name].path(), kept.path());
    kept
}

/// Puts a backup in the place of a node's data directory.
fn restore(town: &mut Town, name: &str, backup: &TempDir) {
    let place = folder();
    copy(backup.path(), place.path());
    town.folders.insert(name.to_owned(), place);
}

/// The node is refused with these words, and joins as a new one with an empty data directory.
async fn is_refused_and_joins_anew(town: &mut Town, name: &str, former: NodeId, words: &str) {
    let refused = town.try_join(name, "a").await.err().expect("refused");
    let OpenError::NotAdmitted(why) = &refused else { panic!("{refused}") };
    assert!(why.contains("old backup") && why.contains(words), "{why}");
    town.folders.remove(name);
    let anew = town.join(name, "a").await;
    assert!(anew.node() > former);
    until("it has a lease", async || leased(&anew)).await;
    anew.close().await;
}

#[test]
fn of_two_voters_one_may_come_back_at_another_address() {
    runs(async {
        let mut town = Town::new();
        let a = town.bootstrap("a").await;
        let b = town.join("b", "a").await;
        until("two voters", async || voters(&a).len() == 2 && voters(&b).len() == 2).await;
        town.kill("b", &b).await;
        until("no lease", async || !leased(&a)).await;
        // The log of the one that stayed is ahead, so that only it can be elected.
        until("ahead", async || a.log.last_index() > b.log.last_index()).await;
        let mut options = town.options("b", restart());
        let elsewhere: Arc<str> = "b-elsewhere:7701".into();
        options.member.as_mut().expect("it has peers").control = elsewhere.clone();
        town.ways.moves("b", elsewhere.clone());
        let again = RaftDirectory::open(options).await.expect("finds the other one");
        assert_eq!(again.node(), b.node());
        again.create_room(new_room("after")).await.expect("there is a leader");
        a.barrier().await.expect("there is a leader");
        let nodes = a.nodes().borrow().clone();
        let record = nodes.iter().find(|node| node.id == b.node()).expect("a node");
        assert_eq!(record.control, elsewhere, "it is written down");
        close_all([&again, &a]).await;
    });
}

#[test]
fn a_data_directory_of_an_earlier_start_is_refused() {
    runs(async {
        let (mut town, [a, b, c]) = Town::three().await;
        town.kill("c", &c).await;
        let old = backup(&town, "c");
        let again = town.join("c", "a").await;
        a.create_room(new_room("since then")).await.expect("made");
        town.kill("c", &again).await;
        restore(&mut town, "c", &old);
        is_refused_and_joins_anew(&mut town, "c", c.node(), "the cluster has heard of its start 2")
            .await;
        close_all([&b, &a]).await;
    });
}

#[test]
fn a_data_directory_that_forgot_what_it_acknowledged_is_refused() {
    runs(async {
        let (mut town, [a, b, c]) = Town::three().await;
        until("leases", async || [&a, &b, &c].into_iter().all(leased)).await;
        // Of the same start: only the log tells.
        let old = backup(&town, "c");
        for n in 0..5 {
            a.create_room(new_room(&format!("since then {n}"))).await.expect("made");
        }
        c.barrier().await.expect("it has them all");
        town.kill("c", &c).await;
        restore(&mut town, "c", &old);
        is_refused_and_joins_anew(&mut town, "c", c.node(), "it has acknowledged entry").await;
        close_all([&b, &a]).await;
    });
}

/// Nobody could tell it before its Raft began: the leader must not stumble over such a log.
#[test]
fn a_leader_gives_nothing_to_a_log_that_forgot_and_goes_on() {
    runs(async {
        let (mut town, [a, b, c]) = Town::three().await;
        until("leases", async || [&a, &b, &c].into_iter().all(leased)).await;
        let old = backup(&town, "c");
        for n in 0..5 {
            a.create_room(new_room(&format!("since then {n}"))).await.expect("made");
        }
        c.barrier().await.expect("it has them all");
        town.kill("c", &c).await;
        restore(&mut town, "c", &old);
        town.ways.part("c", &["a", "b"], true);
        let options = town.options("c", restart());
        let opening = RaftDirectory::open(options);
        let goes_on = async {
            // Longer than anybody is asked whether it may come back.
            tokio::time::sleep(limits::RETURN_WAIT * 2).await;
            town.ways.part("c", &["a", "b"], false);
            let since = Instant::now();
            while since.elapsed() < leases().lease * 2 {
                let name = format!("after {:?}", since.elapsed());
                a.create_room(new_room(&name)).await.expect("the others go on");
            }
        };
        tokio::select! {
            opened = opening => panic!("{:?}", opened.err()),
            () = goes_on => {}
        }
        assert_eq!(a.leader(), Some(a.node()));
        let failed = async { a.failed().await };
        assert!(futures_util::FutureExt::now_or_never(failed).is_none(), "its Raft goes on");
        close_all([&b, &a]).await;
    });
}
