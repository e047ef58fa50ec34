//! A fleet under load: what every fault test begins with, and the end that all of them share.
//! Faults are taken away, the cluster must heal, and then everything is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use parlance_benches::checker::{Fate, Run};
use serde_json::json;
use uuid::Uuid;

use super::crowd::Crowd;
use super::fleet::Fleet;
use super::losses::Losses;
use super::node::{Report, shard_of};
use crate::town::talk::{Ended, Reset};
use crate::town::{Ack, By, Chance, Pace, Talk, Talker, Town, small_damage_is_found, verdict};

/// Messages that must get their ack after every fault is over.
const ACKS_HEALED: u64 = 100;
/// Questions at the same time to each node, fewer than it takes.
const ASKS: usize = 6;
/// How long anything in the cluster may take: longer than a dead voter is waited for.
const PATIENCE: Duration = Duration::from_secs(150);

/// How much goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) nodes: usize,
    pub(crate) rooms: usize,
    pub(crate) members: usize,
    pub(crate) people: usize,
    /// Between two messages of a writer; each room has two writers.
    pub(crate) pace: Duration,
    /// A message has at least this length.
    pub(crate) body_bytes: usize,
}

/// What `make test` can afford.
pub(crate) const SMALL: Shape = Shape {
    nodes: 3,
    rooms: 12,
    members: 5,
    people: 15,
    pace: Duration::from_millis(150),
    body_bytes: 0,
};
/// What `make soak` does: 50 rooms of 20.
pub(crate) const LARGE: Shape = Shape {
    nodes: 5,
    rooms: 50,
    members: 20,
    people: 100,
    pace: Duration::from_millis(1_000),
    body_bytes: 0,
};

/// A fleet, the people who use it, and what they say.
pub(crate) struct Scene {
    pub(crate) fleet: Fleet,
    pub(crate) town: Town,
    pub(crate) talk: Talk,
    pub(crate) chance: Chance,
    losses: Losses,
    /// Times whose acks are looked at by themselves.
    periods: Vec<Period>,
}

struct Period {
    name: &'static str,
    begun: Instant,
    ended: Instant,
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
        let Shape { rooms, members, people, pace, body_bytes, .. } = shape;
        let pace = Pace { every: pace, body_bytes };
        let town = Town::found(&fleet.http(), people, rooms, members).await;
        if fleet.nodes.len() > 1 {
            fleet.spread(&town.rooms).await;
        }
        let talk = Talk::start(fleet.server(), &town, pace, manners(&town)).await;
        talk.goes_on(2 * rooms as u64).await;
        Self { fleet, town, talk, chance, losses: Losses::default(), periods: Vec::new() }
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

    /// Waits for something in the cluster as one node sees it.
    pub(crate) async fn until(
        &self,
        what: &str,
        place: usize,
        holds: impl Fn(&Report) -> bool,
    ) -> Report {
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(report) = self.fleet.nodes[place].report().await.filter(&holds) {
                    return report;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        match waited.await {
            Ok(report) => report,
            Err(_) => panic!("never {what}; {:?}", self.fleet.nodes[place].report().await),
        }
    }

    /// Has the directory write so many entries: shards are pinned and unpinned, which moves nothing
    /// that it would not move anyway.
    pub(crate) async fn write_entries(&self, count: usize) {
        let begun = Instant::now();
        let goal = self.entries().await + count as u64;
        while self.entries().await < goal {
            self.write_some_entries().await;
        }
        println!("{count} entries were written in {:?}", begun.elapsed());
    }

    /// The same until a node has ended by itself.
    pub(crate) async fn write_entries_until_one_ends(&mut self, place: usize) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Err(status) = self.fleet.nodes[place].still_runs() {
                println!("it ended {:?} later: {status}", begun.elapsed());
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it goes on; {}", self.fleet.nodes[place].log(10));
            self.write_some_entries().await;
        }
    }

    async fn entries(&self) -> u64 {
        self.fleet.view().await.map_or(0, |view| view.raft.last_log)
    }

    /// Some on each node, all of them at the same time, so that they share commits.
    async fn write_some_entries(&self) {
        let Some(view) = self.fleet.view().await else { return };
        let asks = self.fleet.nodes.iter().filter(|node| node.is_running()).flat_map(|node| {
            let shards = view.shards.iter().enumerate().take(ASKS);
            shards.map(move |(shard, now)| async move {
                // Whether it was done does not matter: there is another round.
                let _ = node.ask(&json!({"do": "pin", "shard": shard, "to": now.owner})).await;
                let _ = node.ask(&json!({"do": "pin", "shard": shard, "to": null})).await;
            })
        });
        join_all(asks).await;
    }

    /// Waits until every node has the same table of shards.
    pub(crate) async fn agree(&self) {
        let table = |report: Report| {
            let shards = report.shards.into_iter();
            shards.map(|shard| (shard.owner, shard.epoch)).collect::<Vec<_>>()
        };
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let mut tables = Vec::new();
                for node in &self.fleet.nodes {
                    tables.push(node.report().await.map(table));
                }
                if tables[0].is_some() && tables.iter().all(|other| *other == tables[0]) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        assert!(waited.await.is_ok(), "the nodes do not agree; {:?}", self.fleet.view().await);
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

    /// What was sent since then, and answered by now, is looked at by itself in the end.
    pub(crate) fn remember_period(&mut self, name: &'static str, begun: Instant) {
        self.periods.push(Period { name, begun, ended: Instant::now() });
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
    pub(crate) async fn end(self) {
        self.end_with(Vec::new()).await;
    }

    /// The same, and what these crowds heard is checked with it.
    pub(crate) async fn end_with(mut self, crowds: Vec<Crowd>) {
        let (mut run, _) = self.comes_to_rest().await.kept();
        for crowd in crowds {
            run.streams.extend(crowd.end(&run.logs).await);
        }
        self.judge(run).await;
    }

    /// The same after what operators planned and nothing else: besides, whoever repeated what they
    /// sent as the protocol has it got an ack for all of it.
    pub(crate) async fn end_of_what_was_planned(mut self) {
        let (run, _) = self.comes_to_rest().await.kept();
        let without_ack = run.sent.iter().filter(|sent| !matches!(sent.fate, Fate::Acked(_)));
        assert_eq!(without_ack.count(), 0, "messages without an ack");
        self.judge(run).await;
    }

    /// The same after failovers that lost nothing. A room of which nobody could tell may have another
    /// generation; all that was heard of it is still there.
    pub(crate) async fn end_with_resets(mut self) {
        let Ended { mut run, resets, .. } = self.comes_to_rest().await;
        print_resets(&resets);
        run.streams.extend(resets.into_iter().map(|reset| reset.before));
        self.judge(run).await;
    }

    /// The same after a failover, which ended at that moment, to a database that lacks something
    /// that was acknowledged before. Everybody in a room that lost something was told, and nothing
    /// else is missing.
    pub(crate) async fn end_after_loss(mut self, failed_over: Instant) {
        let Ended { mut run, acks, resets } = self.comes_to_rest().await;
        print_resets(&resets);
        let acked: BTreeMap<Uuid, Instant> = acks.iter().map(|ack| (ack.key, ack.acked)).collect();
        let logged: BTreeSet<Uuid> =
            run.logs.values().flatten().map(|logged| logged.entry.key).collect();
        let told: BTreeSet<(&str, Uuid)> =
            resets.iter().map(|reset| (&*reset.before.client, reset.before.room)).collect();
        let is_lost = |key: &Uuid| acked[key] < failed_over && !logged.contains(key);
        let mut lost: BTreeMap<Uuid, usize> = BTreeMap::new();
        run.sent.retain(|sent| {
            let is_kept = !(matches!(sent.fate, Fate::Acked(_)) && is_lost(&sent.key));
            *lost.entry(sent.room).or_default() += usize::from(!is_kept);
            is_kept
        });
        lost.retain(|_, count| *count > 0);
        println!("acknowledged and lost, by room: {lost:#?}");
        assert!(!lost.is_empty(), "nothing was lost, so nothing was shown");
        for stream in run.streams.iter().filter(|stream| lost.contains_key(&stream.room)) {
            let (client, room) = (&*stream.client, stream.room);
            assert!(told.contains(&(client, room)), "{client} does not know what {room} lost");
        }
        self.judge(run).await;
    }

    /// Faults are over, everything heals, and everybody has heard everything.
    async fn comes_to_rest(&mut self) -> Ended {
        let begun = Instant::now();
        self.fleet.heal().await;
        println!("everything is ready {:?} after the last fault", begun.elapsed());
        self.talk.goes_on(ACKS_HEALED).await;
        self.print_moves().await;
        let before = owners(&self.fleet, &self.town).await;
        let ended = self.talk.end(&self.town).await;
        self.losses.print(&self.fleet, &ended.acks);
        print_longest(&self.periods, &ended.acks);
        println!(
            "owners at the end of the talk: {before:#?}\nand now: {:#?}",
            owners(&self.fleet, &self.town).await
        );
        ended
    }

    /// The checker on what everybody saw, and the audit on what the database holds.
    async fn judge(mut self, run: Run) {
        verdict(&run, ACKS_HEALED);
        let audit = parlance_storage::audit(&self.fleet.database.url()).await;
        let violations = audit.expect("the database can be read");
        let violations: Vec<String> = violations.iter().map(ToString::to_string).collect();
        assert!(violations.is_empty(), "the audit: {}", violations.join("\n"));
        small_damage_is_found(run, &mut self.chance);
    }
}

fn print_resets(resets: &[Reset]) {
    let mut rooms: BTreeMap<Uuid, BTreeMap<u64, usize>> = BTreeMap::new();
    for Reset { r#gen, before } in resets {
        *rooms.entry(before.room).or_default().entry(*r#gen).or_default() += 1;
    }
    println!("rooms with another generation, and how many were told of it: {rooms:#?}");
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

/// The longest time from first send to ack, of what was under way in each period.
fn print_longest(periods: &[Period], acks: &[Ack]) {
    for Period { name, begun, ended } in periods {
        let within = acks
            .iter()
            .filter(|ack| ack.by == By::Client && ack.acked >= *begun && ack.begun <= *ended);
        let mut waits: Vec<Duration> = within.map(|ack| ack.acked - ack.begun).collect();
        waits.sort_unstable();
        println!(
            "{name}: {} sends of others, from first send to ack p50 {:?}, longest {:?}",
            waits.len(),
            waits.get(waits.len() / 2),
            waits.last(),
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
