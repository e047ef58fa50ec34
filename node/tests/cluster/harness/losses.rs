//! What was taken away from a fleet, and how long it took until the rooms that were lost with it
//! accepted again: for clients, and for somebody who presses at the nodes that are left. Prints
//! figures and judges none.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use parlance_client::Http;
use uuid::Uuid;

use super::fleet::Fleet;
use super::node::{Moment, Report};
use crate::town::{Ack, By, Town};

/// What a leader says when it begins to lead.
const LEADS: &str = "this node leads";
/// What a leader says when it gives a dead node's shards to others.
const TAKES_OVER: &str = "a dead owner's shards are taken over";
/// What a node says when gossip gives another one up.
const GIVES_UP: &str = "gossip believes that a node is dead";

/// Who sends, in words.
const BOTH: [(By, &str); 2] = [(By::Press, "whoever presses"), (By::Client, "clients")];

/// Every loss of a test.
#[derive(Default)]
pub(crate) struct Losses(Vec<Loss>);

/// One node's.
pub(crate) struct Loss {
    place: usize,
    name: String,
    led: bool,
    rooms: Vec<Uuid>,
    at: Instant,
    moment: Moment,
    /// Somebody presses in its rooms.
    pressed: bool,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, rooms, .. } = self;
        write!(f, "{name}, {}, goes with {} rooms", self.what(), rooms.len())
    }
}

impl Loss {
    const fn what(&self) -> &'static str {
        if self.led { "the Raft leader" } else { "not the Raft leader" }
    }

    /// How long until any other node first said what shows that the loss was noticed.
    fn steps(&self, fleet: &Fleet, until: Option<Moment>) -> Vec<(&'static str, Duration)> {
        let first = |words: &&'static str| {
            let others = fleet.nodes.iter().filter(|node| node.name != self.name);
            let first = others.filter_map(|node| node.first_said(words, self.moment)).min()?;
            let counts = until.is_none_or(|until| first < until);
            counts.then(|| (*words, first.since(self.moment)))
        };
        [GIVES_UP, LEADS, TAKES_OVER].iter().filter_map(first).collect()
    }

    /// How long until each of its rooms took a message that was begun after the loss.
    fn waits(&self, by: By, acks: &[Ack]) -> Vec<Duration> {
        let of = |room: &Uuid| {
            let after =
                acks.iter().filter(|ack| ack.by == by && ack.room == *room && ack.begun >= self.at);
            after.map(|ack| ack.acked - self.at).min()
        };
        self.rooms.iter().filter_map(of).collect()
    }
}

impl Losses {
    /// A node is about to be lost, with the rooms that it has.
    pub(crate) fn begin(
        &mut self,
        fleet: &Fleet,
        town: &Town,
        view: Option<&Report>,
        place: usize,
    ) -> &Loss {
        let name = fleet.nodes[place].name.clone();
        let rooms = view.map_or_else(Vec::new, |view| {
            let had = |room: &&Uuid| view.owner_of(**room) == Some(name.as_str());
            town.rooms.iter().filter(had).copied().collect()
        });
        let leader = view.and_then(|view| view.name_of(view.raft.leader?));
        let led = leader == Some(name.as_str());
        let (at, moment) = (Instant::now(), Moment::now());
        self.0.push(Loss { place, name, led, rooms, at, moment, pressed: false });
        self.0.last().expect("it was just put there")
    }

    /// The last one is lost now. Gives its rooms and the nodes that are left.
    pub(crate) fn begun(&mut self, fleet: &Fleet) -> (Vec<Uuid>, Vec<Http>) {
        let loss = self.0.last_mut().expect("something was to be lost");
        (loss.at, loss.moment, loss.pressed) = (Instant::now(), Moment::now(), true);
        let left = fleet.nodes.iter().enumerate();
        let left = left.filter(|(place, node)| *place != loss.place && node.is_running());
        (loss.rooms.clone(), left.map(|(_, node)| node.http()).collect())
    }

    /// In how many rooms somebody pressed.
    pub(crate) fn pressed(&self) -> usize {
        self.0.iter().filter(|loss| loss.pressed).map(|loss| loss.rooms.len()).sum()
    }

    /// How long the last one took so far.
    pub(crate) fn print_last(&self, fleet: &Fleet, acks: &[Ack]) {
        let Some(loss) = self.0.last() else { return };
        let mut line = format!("{loss}:");
        for (words, after) in loss.steps(fleet, None) {
            line.push_str(&format!(" {words:?} after {after:.2?};"));
        }
        for (by, who) in BOTH {
            let waits = loss.waits(by, acks);
            if let Some(worst) = waits.iter().max() {
                line.push_str(&format!(" {} rooms for {who}, worst {worst:.2?};", waits.len()));
            }
        }
        println!("{line}");
    }

    /// How long everything took.
    pub(crate) fn print(&self, fleet: &Fleet, acks: &[Ack]) {
        let mut steps: BTreeMap<(&str, &str), Vec<Duration>> = BTreeMap::new();
        let mut waits: BTreeMap<(&str, &str), Vec<Duration>> = BTreeMap::new();
        for (number, loss) in self.0.iter().enumerate() {
            let until = self.0.get(number + 1).map(|next| next.moment);
            for (words, after) in loss.steps(fleet, until) {
                steps.entry((loss.what(), words)).or_default().push(after);
            }
            for (by, who) in BOTH {
                waits.entry((loss.what(), who)).or_default().extend(loss.waits(by, acks));
            }
        }
        for ((what, words), found) in steps {
            print_spread(&format!("{what} is lost: {words:?} after"), found);
        }
        for ((what, who), found) in waits {
            print_spread(&format!("{what} is lost: its rooms accept again for {who} after"), found);
        }
    }
}

/// The median, the 99th percentile and the worst of some times.
pub(crate) fn print_spread(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let Some(last) = times.len().checked_sub(1) else { return };
    let at = |percent: usize| times[(times.len() * percent / 100).min(last)];
    let (half, most, worst, count) = (at(50), at(99), times[last], times.len());
    println!("{what} (p50, p99, worst of {count}): {half:.2?}, {most:.2?}, {worst:.2?}");
}
