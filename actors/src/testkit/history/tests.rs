//! History in memory keeps the contracts of its ports, and its faults do what they say.

use async_trait::async_trait;

use super::*;
use crate::ports::history::{History, NotTakenWhy, Outcome};
use crate::ports::members::Members;
use crate::testkit::history_room::{TestRoom, draft, keyed, message};
use crate::testkit::history_suite::{self, Store, new_room};
use crate::testkit::members_suite;

struct Memory(Arc<MemoryHistory>);

#[async_trait]
impl Store for Memory {
    fn history(&self) -> Arc<dyn History> {
        self.0.clone()
    }
    fn members(&self) -> Arc<dyn Members> {
        self.0.clone()
    }
    async fn add_user(&self, user: UserId, username: &str) {
        self.0.add_user(user, username);
    }
    async fn another_process(&self) -> Box<dyn Store> {
        Box::new(Self(self.0.another_process()))
    }
    async fn projected(&self) -> Vec<RoomMeta> {
        self.0.projected_rooms()
    }
}

#[tokio::test]
async fn memory_keeps_the_contract_of_history() {
    history_suite::all(&Memory(MemoryHistory::new())).await;
}

#[tokio::test]
async fn memory_keeps_the_contract_of_members() {
    members_suite::all(&Memory(MemoryHistory::new())).await;
}

#[tokio::test]
async fn a_restart_keeps_what_was_committed_and_nothing_else() {
    let memory = MemoryHistory::new();
    let history: Arc<dyn History> = memory.clone();
    let user = UserId::generate();
    let mut room = TestRoom::open(&history, new_room(), Epoch(1)).await.expect("opens");
    room.settle(draft(user, message("kept"))).await;
    memory.hold_commits();
    room.post(draft(user, message("gone"))).expect("taken");
    let next: Arc<dyn History> = memory.restart();
    let again = TestRoom::open(&next, room.at, Epoch(1)).await.expect("opens");
    assert_eq!(again.opened.head, Seq(1));
    assert_eq!(room.heard_so_far().len(), 1);
}

#[tokio::test]
async fn after_a_failover_nothing_is_committed_before_the_room_opens_again() {
    let memory = MemoryHistory::new();
    let history: Arc<dyn History> = memory.clone();
    let user = UserId::generate();
    let at = new_room();
    let mut room = TestRoom::open(&history, at, Epoch(1)).await.expect("opens");
    let kept = draft(user, message("kept"));
    room.settle(kept.clone()).await;
    room.settle(draft(user, message("forgotten"))).await;
    memory.fail_over();
    memory.forget_after(at, Seq(1));
    assert_eq!(room.settle(draft(user, message("early"))).await, Outcome::DatabaseChanged);
    let mut again = TestRoom::open(&history, at, Epoch(1)).await.expect("opens");
    assert_ne!(again.opened.database, room.opened.database);
    assert_eq!(again.opened.head, Seq(1));
    // Its shard is open again, and still a room from before may not go on.
    assert_eq!(room.settle(draft(user, message("late"))).await, Outcome::DatabaseChanged);
    assert!(matches!(again.settle(kept).await, Outcome::Repeated { seq: Seq(1), .. }));
    let next = again.settle(draft(user, message("next"))).await;
    assert_eq!(next, Outcome::Committed { seq: Seq(2) });
}

#[tokio::test]
async fn faults_do_what_they_say() {
    let memory = MemoryHistory::new();
    let history: Arc<dyn History> = memory.clone();
    let user = UserId::generate();
    memory.fail_opens(1);
    assert!(TestRoom::open(&history, new_room(), Epoch(1)).await.is_err());
    let mut room = TestRoom::open(&history, new_room(), Epoch(1)).await.expect("opens");
    memory.hold_commits();
    let bad = Key::generate();
    memory.refuse_key(bad);
    room.post(draft(user, message("one"))).expect("taken");
    room.post(keyed(user, bad, message("bad"))).expect("taken");
    assert_eq!(memory.waiting(), 2);
    memory.set_away(true);
    let refused = room.post(draft(user, message("away"))).expect_err("not taken");
    assert_eq!(refused.why, NotTakenWhy::Away);
    memory.set_away(false);
    memory.release_commits();
    let outcomes = room.outcomes().await;
    assert_eq!(outcomes[0].1, Outcome::Committed { seq: Seq(1) });
    assert!(matches!(outcomes[1].1, Outcome::Failed { .. }));
    memory.take_over(room.at.shard(), Epoch(9));
    assert_eq!(room.settle(draft(user, message("late"))).await, Outcome::Fenced);
}
