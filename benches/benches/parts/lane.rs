//! A lane's batches: taken from the queue, made into rows and PostgreSQL's arrays, settled and told
//! to their rooms. The database answers at once and is not in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parlance_actors::ports::history::{Append, AppendSink, Opened, RoomHead, Settled};
use parlance_actors::vocab::{Draft, Epoch, RoomRef, Sender, Timestamp};
use parlance_storage::Crypt;
use parlance_storage::keyring::KeyRing;
use parlance_storage::testkit::{IDLE_DATABASE, IdleLane};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::part::Part;
use crate::sample;

const ROOMS: u64 = 16;
const EPOCH: Epoch = Epoch(1);

pub(crate) struct Batches {
    runtime: Runtime,
    lane: IdleLane,
    rooms: Vec<(RoomRef, Arc<RoomHead>)>,
    told: Arc<Told>,
    size: usize,
    next: Vec<Append>,
    made: u64,
    /// Of the key ring's file, which is looked at now and then.
    _folder: Option<TempDir>,
}

/// Counts what became of appends.
#[derive(Default)]
struct Told(AtomicUsize);

impl AppendSink for Told {
    fn settled(&self, outcomes: Vec<Settled>) {
        self.0.fetch_add(outcomes.len(), Ordering::Relaxed);
    }
}

impl Batches {
    /// Bodies stored as they are.
    pub(crate) fn open(size: usize) -> Self {
        Self::new(size, Crypt::off(), None)
    }

    /// Bodies encrypted.
    pub(crate) fn sealed(size: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ring = folder.path().join("ring");
        KeyRing::generate(&ring, Timestamp::now()).expect("a key ring");
        Self::new(size, Crypt::from_file(&ring).expect("the ring that was made"), Some(folder))
    }

    fn new(size: usize, crypt: Crypt, folder: Option<TempDir>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime");
        let opened = Opened { database: IDLE_DATABASE, ..Opened::default() };
        let rooms: Vec<_> =
            (0..ROOMS).map(|number| (sample::room(number), RoomHead::of(&opened))).collect();
        let lane = runtime.block_on(async {
            let lane = IdleLane::start(crypt);
            for (room, _) in &rooms {
                lane.open(*room, EPOCH).await;
            }
            lane
        });
        let (told, next) = (Arc::default(), Vec::new());
        Self { runtime, lane, rooms, told, size, next, made: 0, _folder: folder }
    }
}

impl Part for Batches {
    fn prepare(&mut self) {
        self.told.0.store(0, Ordering::Relaxed);
        for (room, head) in self.rooms.iter().cycle().take(self.size) {
            self.made += 1;
            let sender = Sender { id: sample::user(self.made % 10), username: "user".into() };
            let (key, content) = (sample::key(self.made), sample::message());
            let draft = Draft { sender, device: None, key, sent_at: sample::NOW, content };
            self.next.push(Append {
                room: *room,
                epoch: EPOCH,
                head: head.clone(),
                ticket: self.made,
                draft,
                sink: self.told.clone(),
            });
        }
    }

    fn run(&mut self) {
        let Self { runtime, lane, told, size, next, .. } = self;
        runtime.block_on(async {
            for append in next.drain(..) {
                lane.append(append).expect("the lane has room");
            }
            while told.0.load(Ordering::Relaxed) < *size {
                tokio::task::yield_now().await;
            }
        });
    }
}
