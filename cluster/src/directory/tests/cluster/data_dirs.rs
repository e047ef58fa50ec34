//! Whose a data directory is: the node's id and the cluster's, and directories that are refused or
//! recovered.

use super::*;

#[test]
fn a_node_keeps_its_id_with_its_data_directory_and_gets_another_without() {
    runs(async {
        let (mut town, [a, b, c]) = Town::three().await;
        let (first, highest) = (b.node(), c.node());
        town.kill("b", &b).await;
        let b = town.join("b", "a").await;
        assert_eq!(b.node(), first);
        town.kill("b", &b).await;
        town.folders.remove("b");
        let b = town.join("b", "c").await;
        assert!(b.node() > highest, "an id is never used again");
        let expected = vec![a.node(), c.node(), b.node()];
        until("the former one is out", async || {
            let report = a.report();
            report.raft.voters == expected && report.raft.learners.is_empty()
        })
        .await;
        assert_eq!(a.name_of(first), None);
        close_all([&b, &c, &a]).await;
    });
}

#[test]
fn a_node_of_another_cluster_and_a_database_of_another_one_are_refused() {
    runs(async {
        let mut town = Town::new();
        let a = town.bootstrap("a").await;
        let other = ClusterId::generate();
        let seeds = vec![address("a")];
        let options = town.options("b", Start::Join { seeds });
        let options = DirectoryOptions { known_cluster: Some(other), ..options };
        let refused = RaftDirectory::open(options).await.err().expect("refused");
        assert!(
            matches!(refused, OpenError::OtherCluster { found, expected, .. }
                if found == a.cluster_id() && expected == other),
            "{refused}"
        );
        // Nothing of it is kept: it may join once the database is the right one.
        town.join("b", "a").await.close().await;
        a.close().await;
    });
}

#[test]
fn a_data_directory_without_its_log_still_has_an_id_and_is_refused() {
    runs(async {
        let mut town = Town::new();
        let a = town.bootstrap("a").await;
        let b = town.join("b", "a").await;
        town.kill("b", &b).await;
        fs::remove_dir_all(town.folders["b"].path().join(FOLDER)).expect("removed");
        let refused = town.try_join("b", "a").await.err().expect("refused");
        assert!(matches!(refused, OpenError::DamagedMember { .. }), "{refused}");
        a.close().await;
    });
}

#[test]
fn the_database_may_say_which_cluster_a_node_begins() {
    runs(async {
        let mut town = Town::new();
        let given = ClusterId::generate();
        let start = Start::Bootstrap { cluster: Some(given) };
        let options = DirectoryOptions { known_cluster: Some(given), ..town.options("a", start) };
        let a = RaftDirectory::open(options).await.expect("begins");
        assert_eq!(a.cluster_id(), given);
        a.close().await;
        // Another data directory cannot begin what has begun, unless the database says so.
        let start = Start::Bootstrap { cluster: None };
        let options = DirectoryOptions { known_cluster: Some(given), ..town.options("b", start) };
        let refused = RaftDirectory::open(options).await.err().expect("refused");
        assert!(matches!(refused, OpenError::DirectoryLost { .. }), "{refused}");
    });
}

#[test]
fn a_recovered_directory_has_its_rooms_its_cluster_and_higher_epochs() {
    runs(async {
        let folder = folder();
        let first = open(folder.path()).await;
        let cluster = first.cluster_id();
        let mut rooms = Vec::new();
        for n in 0..40 {
            rooms.push(first.create_room(new_room(&format!("room {n}"))).await.expect("made"));
        }
        let rename = RoomName::parse("renamed").expect("valid");
        let change = RoomChange { name: Some(rename), ..RoomChange::default() };
        rooms[0] =
            first.change_room(rooms[0].at(), change, rooms[0].created_by).await.expect("changed");
        let recovery = Recovery {
            data_dir: folder.path().to_owned(),
            cluster,
            epoch_floor: Epoch(500),
            node: None,
            tenants: Vec::new(),
            rooms: rooms.iter().map(|room| (**room).clone()).collect(),
        };
        let refused = recover(recovery.clone()).await.expect_err("the node runs");
        assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
        first.close().await;
        std::fs::write(folder.path().join("directory/log.redb"), b"damaged").expect("written");
        let done = recover(recovery).await.expect("recovered");
        assert_eq!((done.node, done.rooms, done.aside.len()), (NodeId(2), 40, 2));
        assert!(done.aside.iter().all(|aside| aside.exists()));
        let options = DirectoryOptions {
            known_cluster: Some(cluster),
            ..DirectoryOptions::new(folder.path())
        };
        let again = RaftDirectory::open(options).await.expect("opens");
        assert_eq!((again.node(), again.cluster_id()), (NodeId(2), cluster));
        for room in &rooms {
            assert_eq!(again.room(room.at()).as_ref(), Some(room));
        }
        for shard in ShardId::all() {
            let owned = again.ownership(shard).expect("served");
            assert!(owned.owner == NodeId(2) && owned.epoch > Epoch(500));
        }
        again.close().await;
    });
}
