//! A fleet under load: what every fault test begins with, and the end that all of them share.
//! Faults are taken away, the cluster must heal, and then everything is checked.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::fleet::Fleet;
use super::losses::Losses;
use super::node::shard_of;
use crate::town::{Chance, Talk, Talker, Town, small_damage_is_found, verdict};

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
    losses: Losses,
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
        Self { fleet, town, talk, chance, losses: Losses::default() }
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

    /// Kills a node, and measures when its rooms accept again.
    pub(crate) async fn kill9(&mut self, place: usize) {
        self.remember_loss(place).await;
        self.fleet.nodes[place].kill9().await;
        self.press();
    }

    /// From now on it is measured how long the rooms of this node do not accept.
    pub(crate) async fn remember_loss(&mut self, place: usize) {
        let view = self.fleet.view().await;
        let loss = self.losses.begin(&self.fleet, &self.town, view.as_ref(), place);
        println!("{loss}, after {} acks", self.talk.acked());
    }

    /// What was to be lost is lost now: in each of its rooms somebody asks the other nodes until
    /// one of them accepts.
    pub(crate) fn press(&mut self) {
        let (rooms, places) = self.losses.begun(&self.fleet);
        for room in rooms {
            let number = self.town.rooms.iter().position(|known| *known == room);
            let who = self.town.members[number.expect("a room of the town")][0];
            let places = places.clone();
            self.talk.write(&self.town.people[who], room, |writer| writer.presses(places));
        }
    }

    /// Waits until every room that was lost accepts again.
    pub(crate) async fn accepts_again(&self) {
        let goal = self.losses.pressed();
        let done = || self.talk.pressed() >= goal;
        crate::town::until("every lost room accepts again", done).await;
    }

    /// What is known of the last loss by now.
    pub(crate) fn print_last_loss(&self) {
        self.losses.print_last(&self.fleet, &self.talk.acks());
    }

    /// How often shards changed their owner, as far as the cluster remembers, and why.
    async fn print_moves(&self) {
        let mut causes: BTreeMap<String, usize> = BTreeMap::new();
        for moved in self.fleet.view().await.into_iter().flat_map(|view| view.moves) {
            *causes.entry(moved.cause).or_default() += 1;
        }
        println!("the last moves of shards by cause: {causes:?}");
    }

    /// Fails when a shard was taken from an owner since this epoch because the owner seemed dead.
    pub(crate) async fn must_have_moved_for_no_death(&self, since: u64) {
        let view = self.fleet.view().await.expect("the nodes run");
        let taken: Vec<_> = view
            .moves
            .iter()
            .filter(|moved| moved.epoch > since && moved.cause == "takeover")
            .collect();
        assert!(taken.is_empty(), "taken from living owners: {taken:?}");
    }

    /// Faults are over; everything heals, and every promise is checked.
    pub(crate) async fn end(mut self) {
        let begun = Instant::now();
        self.fleet.heal().await;
        println!("everything is ready {:?} after the last fault", begun.elapsed());
        self.talk.goes_on(ACKS_HEALED).await;
        self.print_moves().await;
        let before = owners(&self.fleet, &self.town).await;
        let (run, acks) = self.talk.end(&self.town).await;
        self.losses.print(&self.fleet, &acks);
        println!(
            "owners at the end of the talk: {before:#?}\nand now: {:#?}",
            owners(&self.fleet, &self.town).await
        );
        verdict(&run, ACKS_HEALED);
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
