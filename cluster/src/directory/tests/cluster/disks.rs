//! Disks of voters that refuse writes, or that lost what was on them.

use super::*;

/// Has the disk refuse everything from now on, as far as Raft can see: its log is closed below it.
async fn breaks(node: &RaftDirectory) {
    node.log.close().await.expect("its last write");
}

async fn is_given_up(node: &RaftDirectory, others: [&RaftDirectory; 2]) {
    let one = others[0];
    let failed = async { node.failed().await };
    // Something to write.
    let writes = async {
        loop {
            let _ = one.create_room(new_room(&uuid::Uuid::new_v4().to_string())).await;
        }
    };
    let why = tokio::time::timeout(PATIENCE, async {
        tokio::select! { why = failed => why, () = writes => unreachable!("it never ends") }
    });
    let why = why.await.expect("it fails");
    assert!(why.contains("log is closed"), "{why}");
    until("it has no lease", async || !leased(node)).await;
    node.healthy().await.expect_err("it cannot go on");
    node.create_room(new_room("lost")).await.expect_err("it cannot write");
    until("it is taken over", async || owned_by(one, node.node()).is_empty()).await;
    let room = one.create_room(new_room("after")).await.expect("the others go on");
    others[1].barrier().await.expect("a leader");
    assert!(others[1].room(room.at()).is_some());
}

#[test]
fn a_follower_whose_disk_fails_has_no_lease_and_is_taken_over() {
    runs(async {
        let (_town, [a, b, c]) = Town::three().await;
        until("leases", async || [&a, &b, &c].into_iter().all(leased)).await;
        breaks(&b).await;
        is_given_up(&b, [&a, &c]).await;
        close_all([&a, &b, &c]).await;
    });
}

#[test]
fn a_leader_whose_disk_fails_leads_no_more_and_is_taken_over() {
    runs(async {
        let (mut town, [a, b, c]) = Town::three().await;
        until("leases", async || [&a, &b, &c].into_iter().all(leased)).await;
        assert_eq!(b.leader(), Some(a.node()));
        breaks(&a).await;
        is_given_up(&a, [&b, &c]).await;
        // It comes back with what it had.
        town.kill("a", &a).await;
        let again = town.join("a", "b").await;
        assert_eq!(again.node(), a.node());
        until("it has a lease", async || leased(&again)).await;
        close_all([&again, &b, &c]).await;
    });
}
