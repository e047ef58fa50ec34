//! A fleet under load: what every fault test begins with, and the end that all of them share.
//! Faults are taken away, the cluster must heal, and then everything is checked.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parlance_benches::checker::{Fate, Run};
use uuid::Uuid;

use super::fleet::Fleet;
use super::node::shard_of;
use crate::town::{Ack, Chance, Talk, Talker, Town, small_damage_is_found, verdict};

/// Messages that must get their ack after every fault is over.
const ACKS_HEALED: u64 = 100;

/// How much goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) nodes: usize,
    pub(crate) rooms: usize,
    pub(crate) members: usize,
    pub(crate) people: usize,
    /// Between two messages of a writer; each room has two writers.
    pub(crate) pace: Duration,
}

/// What `make test` can afford.
pub(crate) const SMALL: Shape =
    Shape { nodes: 3, rooms: 12, members: 5, people: 15, pace: Duration::from_millis(150) };
/// What `make soak` does: 50 rooms of 20.
pub(crate) const LARGE: Shape =
    Shape { nodes: 5, rooms: 50, members: 20, people: 100, pace: Duration::from_millis(1_000) };

/// A fleet, the people who use it, and what they say.
pub(crate) struct Scene {
    pub(crate) fleet: Fleet,
    pub(crate) town: Town,
    pub(crate) talk: Talk,
    pub(crate) chance: Chance,
    /// What was taken away when, with the rooms that were there.
    losses: Vec<Loss>,
}

struct Loss {
    at: Instant,
    rooms: Vec<Uuid>,
}

impl Scene {
    /// `None` where this machine cannot have networks.
    pub(crate) async fn open(shape: Shape, seed: u64) -> Option<Self> {
        let chance = Chance::seeded(seed);
        let fleet = Fleet::open(shape.nodes).await?;
        Some(Self::with(fleet, shape, chance).await)
    }

    /// The same in a fleet that runs.
    pub(crate) async fn with(fleet: Fleet, shape: Shape, chance: Chance) -> Self {
        let Shape { rooms, members, people, pace, .. } = shape;
        let town = Town::found(&fleet.http(), people, rooms, members).await;
        if fleet.nodes.len() > 1 {
            fleet.spread(&town.rooms).await;
        }
        let talk = Talk::start(fleet.server(), &town, pace, manners(&town)).await;
        talk.goes_on(2 * rooms as u64).await;
        Self { fleet, town, talk, chance, losses: Vec::new() }
    }

    /// One of the nodes, by chance.
    pub(crate) fn any_node(&mut self) -> usize {
        self.below(self.fleet.nodes.len())
    }

    /// One of the rooms, by chance.
    pub(crate) fn any_room(&mut self) -> Uuid {
        let place = self.below(self.town.rooms.len());
        self.town.rooms[place]
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.chance.below(bound as u64)).expect("below an usize")
    }

    /// Lets time pass under load.
    pub(crate) async fn for_seconds(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    /// Kills a node, and remembers which rooms it had.
    pub(crate) async fn kill9(&mut self, place: usize) {
        self.remember_loss(place).await;
        self.fleet.nodes[place].kill9().await;
    }

    /// From now on it is measured how long the rooms of this node do not accept.
    pub(crate) async fn remember_loss(&mut self, place: usize) {
        let name = self.fleet.nodes[place].name.clone();
        let rooms = self.fleet.view().await.map_or_else(Vec::new, |view| {
            let had = |room: &&Uuid| view.owner_of(**room) == Some(name.as_str());
            self.town.rooms.iter().filter(had).copied().collect()
        });
        println!("{name} goes with {} rooms, after {} acks", rooms.len(), self.talk.acked());
        self.losses.push(Loss { at: Instant::now(), rooms });
    }

    /// How often shards changed their owner, as far as the cluster remembers, and why.
    async fn print_moves(&self) {
        let mut causes: BTreeMap<String, usize> = BTreeMap::new();
        for moved in self.fleet.view().await.into_iter().flat_map(|view| view.moves) {
            *causes.entry(moved.cause).or_default() += 1;
        }
        println!("the last moves of shards by cause: {causes:?}");
    }

    /// Faults are over; everything heals, and every promise is checked.
    pub(crate) async fn end(self) {
        self.end_with(|_| {}).await;
    }

    /// The same after what operators planned and nothing else: besides, whoever repeated what they
    /// sent as the protocol has it got an ack for all of it.
    pub(crate) async fn end_of_what_was_planned(self) {
        self.end_with(|run| {
            let without_ack = run.sent.iter().filter(|sent| !matches!(sent.fate, Fate::Acked(_)));
            assert_eq!(without_ack.count(), 0, "messages without an ack");
        })
        .await;
    }

    async fn end_with(mut self, look: impl FnOnce(&Run)) {
        let begun = Instant::now();
        self.fleet.heal().await;
        println!("everything is ready {:?} after the last fault", begun.elapsed());
        self.talk.goes_on(ACKS_HEALED).await;
        self.print_moves().await;
        let before = owners(&self.fleet, &self.town).await;
        let (run, acks) = self.talk.end(&self.town).await;
        print_recoveries(&self.losses, &acks);
        println!(
            "owners at the end of the talk: {before:#?}\nand now: {:#?}",
            owners(&self.fleet, &self.town).await
        );
        verdict(&run, ACKS_HEALED);
        look(&run);
        let audit = parlance_storage::audit(&self.fleet.database.url()).await;
        let violations = audit.expect("the database can be read");
        let violations: Vec<String> = violations.iter().map(ToString::to_string).collect();
        assert!(violations.is_empty(), "the audit: {}", violations.join("\n"));
        small_damage_is_found(run, &mut self.chance);
    }
}

/// Two writers a room, in every manner.
fn manners(town: &Town) -> Vec<(usize, Uuid, Talker)> {
    let talkers = [Talker::InTurn, Talker::BesideEachOther, Talker::OverHttp];
    let rooms = town.rooms.iter().zip(&town.members).enumerate();
    let writers = rooms.flat_map(|(number, (room, members))| {
        let writer = move |nth: usize| {
            let who = members[(number + nth) % members.len()];
            (who, *room, talkers[(number + nth) % talkers.len()])
        };
        [writer(0), writer(1)]
    });
    writers.collect()
}

/// From each loss until each room that was lost took a message again.
fn print_recoveries(losses: &[Loss], acks: &[Ack]) {
    let mut waits: Vec<Duration> = Vec::new();
    for loss in losses {
        for room in &loss.rooms {
            let after = acks.iter().filter(|ack| ack.room == *room && ack.begun >= loss.at);
            waits.extend(after.map(|ack| ack.acked - loss.at).min());
        }
    }
    waits.sort_unstable();
    let at = |percent: usize| waits.get((waits.len() * percent / 100).min(waits.len() - 1));
    if !waits.is_empty() {
        println!(
            "rooms of a lost node accept again after (p50, p99, worst of {}): {:?}, {:?}, {:?}",
            waits.len(),
            at(50).expect("not empty"),
            at(99).expect("not empty"),
            at(100).expect("not empty"),
        );
    }
}

/// Who has each room, as each node sees it.
async fn owners(fleet: &Fleet, town: &Town) -> BTreeMap<Uuid, String> {
    let mut owners: BTreeMap<Uuid, String> = BTreeMap::new();
    for node in &fleet.nodes {
        let Some(report) = node.report().await else { continue };
        for room in &town.rooms {
            let owner = report.owner_of(*room).unwrap_or("nobody");
            let epoch = report.shards[usize::from(shard_of(*room))].epoch;
            let said = format!("{} says {owner} since {epoch}; ", node.name);
            owners.entry(*room).or_default().push_str(&said);
        }
    }
    owners
}
