//! The checker against builds that break a promise on purpose. Each is one deterministic
//! interleaving over in-memory ports, beside the same interleaving with the real behaviour. What
//! is broken at the database (no fence, a weaker lock) is shown in `storage` on PostgreSQL.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parlance_actors::chat::{Chat, Parts};
use parlance_actors::ports::frames::Dialect;
use parlance_actors::ports::history::{
    Append, LogPage, NotTaken, Opened, Outcome, Range, Settled, TimelinePage,
};
use parlance_actors::ports::{Frames, History, HistoryError};
use parlance_actors::session::{Caller, Change, Output, Posted, View};
use parlance_actors::testkit::MemoryAccounts;
use parlance_actors::testkit::directory::MemoryDirectory;
use parlance_actors::testkit::history::MemoryHistory;
use parlance_actors::vocab::{
    Content, Epoch, Event, Key, NodeId, Refusal, RoomId, RoomMeta, RoomRef, Seq, TenantId,
    Timestamp, UserId,
};
use parlance_benches::checker::{Fate, Logged, Received, Run, Sent, Violation, digest};
use parlance_protocol::Kind;

struct NoFrames;

impl Frames for NoFrames {
    fn encode(&self, _: Dialect, _: &Output<'_>) -> Option<Bytes> {
        None
    }
}

/// The broken build that acknowledges before the commit: what it says is true only if the
/// process lives on.
struct EarlyAck(Arc<MemoryHistory>);

#[async_trait]
impl History for EarlyAck {
    fn append(&self, append: Append) -> Result<(), NotTaken> {
        let Append { head, ticket, draft, sink, .. } = append;
        let seq = head.get().next();
        head.set(seq);
        sink.settled(vec![Settled {
            ticket,
            draft,
            batch: 1,
            outcome: Outcome::Committed { seq },
        }]);
        Ok(())
    }

    async fn open(
        &self,
        room: RoomRef,
        epoch: Epoch,
        ask: Option<(UserId, Key)>,
    ) -> Result<Opened, HistoryError> {
        self.0.open(room, epoch, ask).await
    }

    async fn event(&self, room: RoomRef, seq: Seq) -> Result<Option<Event>, HistoryError> {
        self.0.event(room, seq).await
    }

    async fn key(
        &self,
        room: RoomRef,
        sender: UserId,
        key: Key,
    ) -> Result<Option<(Seq, Timestamp)>, HistoryError> {
        self.0.key(room, sender, key).await
    }

    async fn last_message_at(
        &self,
        room: RoomRef,
        sender: UserId,
    ) -> Result<Option<Timestamp>, HistoryError> {
        self.0.last_message_at(room, sender).await
    }

    async fn log(&self, room: RoomRef, range: Range, limit: u16) -> Result<LogPage, HistoryError> {
        self.0.log(room, range, limit).await
    }

    async fn timeline(
        &self,
        room: RoomRef,
        range: Range,
        limit: u16,
    ) -> Result<TimelinePage, HistoryError> {
        self.0.timeline(room, range, limit).await
    }

    async fn pins(&self, room: RoomRef) -> Result<TimelinePage, HistoryError> {
        self.0.pins(room).await
    }

    async fn project_room(&self, meta: &RoomMeta) -> Result<(), HistoryError> {
        self.0.project_room(meta).await
    }

    async fn healthy(&self) -> Result<(), HistoryError> {
        self.0.healthy().await
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

async fn node(memory: &Arc<MemoryHistory>, history: Arc<dyn History>) -> Arc<Chat> {
    let parts = Parts {
        history,
        members: memory.clone(),
        accounts: Arc::new(MemoryAccounts::default()),
        directory: Arc::new(MemoryDirectory::new(NodeId(1))),
        frames: Arc::new(NoFrames),
        peers: Arc::new(parlance_actors::ports::peers::Alone::new(NodeId(1))),
        traces: None,
    };
    Chat::start(parts).await.expect("started")
}

fn ann() -> Caller {
    Caller {
        tenant: TenantId::MAIN,
        user: UserId::generate(),
        username: "ann".into(),
        device: None,
        admin: false,
    }
}

const ROOM: fn() -> RoomId = || RoomId::lobby(TenantId::MAIN);

async fn say(chat: &Chat, by: &Caller, key: Key) -> Result<Posted, Refusal> {
    let body = key.to_string().into();
    let change = Change::Send { body, reply_to: None, thread: None, enc: false };
    chat.post(by, ROOM(), key, change).await
}

fn sent(by: &Caller, key: Key, answer: &Result<Posted, Refusal>) -> Sent {
    let fate = match answer {
        Ok(posted) => Fate::Acked(posted.seq.0),
        Err(_) => Fate::Open,
    };
    let body = digest(key.to_string().as_bytes());
    Sent { room: ROOM().0, sender: by.user.0, key: key.0, body, fate, order: None }
}

fn logged(event: &Event) -> Logged {
    let Content::Message { body, .. } = &event.content else { panic!("only messages are sent") };
    let entry = Received {
        seq: event.seq.0,
        key: event.key.0,
        sender: event.sender.id.0,
        body: Some(digest(body.as_bytes())),
    };
    Logged { entry, kind: Kind::Message, target: None }
}

fn check(memory: &MemoryHistory, sent: Vec<Sent>) -> Vec<Violation> {
    let at = RoomRef { tenant: TenantId::MAIN, room: ROOM() };
    let log = memory.committed(at).iter().map(logged).collect();
    let run =
        Run { sent, streams: Vec::new(), logs: BTreeMap::from([(ROOM().0, log)]), exclusive: true };
    run.check().1
}

/// One message is sent, the node is killed before the database commits, and starts again.
async fn killed_before_the_commit(
    build: impl Fn(Arc<MemoryHistory>) -> Arc<dyn History>,
) -> Vec<Violation> {
    let memory = MemoryHistory::new();
    let chat = node(&memory, build(memory.clone())).await;
    let (by, key) = (ann(), Key::generate());
    let page = chat.history(&by, ROOM(), Range::Latest, 1, View::Log).await;
    page.expect("the room is open");
    memory.hold_commits();
    let answer = tokio::time::timeout(Duration::from_secs(1), say(&chat, &by, key)).await;
    let answer = answer.unwrap_or_else(|_| Err(Refusal::unavailable("killed")));
    check(&memory.restart(), vec![sent(&by, key, &answer)])
}

/// One message is sent and acknowledged, the node is killed and starts again, and the client,
/// which did not get the ack, repeats the message.
async fn repeated_after_a_kill(forget_keys: bool) -> Vec<Violation> {
    let memory = MemoryHistory::new();
    let chat = node(&memory, memory.clone()).await;
    let (by, key) = (ann(), Key::generate());
    say(&chat, &by, key).await.expect("committed");
    let memory = memory.restart();
    if forget_keys {
        memory.forget_keys();
    }
    let chat = node(&memory, memory.clone()).await;
    let answer = say(&chat, &by, key).await;
    check(&memory, vec![sent(&by, key, &answer)])
}

#[tokio::test(start_paused = true)]
async fn an_ack_before_the_commit_is_caught() {
    let broken = killed_before_the_commit(|memory| Arc::new(EarlyAck(memory))).await;
    assert!(matches!(broken[..], [Violation::Lost { acked: 1, .. }]), "{broken:?}");
    let real = killed_before_the_commit(|memory| memory).await;
    assert!(real.is_empty(), "{real:?}");
}

#[tokio::test(start_paused = true)]
async fn a_build_without_dedupe_is_caught() {
    let broken = repeated_after_a_kill(true).await;
    let is_caught =
        broken.iter().any(|v| matches!(v, Violation::Twice { first: 1, second: 2, .. }));
    assert!(is_caught, "{broken:?}");
    let real = repeated_after_a_kill(false).await;
    assert!(real.is_empty(), "{real:?}");
}
