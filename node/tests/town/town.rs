//! What the tests of whole nodes share: people with accounts, the rooms that they are in, how they
//! talk while nodes come and go, and the verdict. It starts no node.

mod chance;
mod front;
#[allow(dead_code, reason = "only the cluster's tests measure how soon a room accepts")]
mod press;
pub(crate) mod talk;
mod verdict;
mod writer;

use std::collections::BTreeMap;
use std::time::Duration;

use parlance_benches::checker::Logged;
use parlance_benches::setup::patiently;
use parlance_benches::witness;
use parlance_client::protocol::RoomKind;
use parlance_client::{ClientError, Http};
use tokio::task::JoinSet;
use uuid::Uuid;

pub(crate) use chance::Chance;
pub(crate) use front::Front;
pub(crate) use talk::{Ack, By, Talk};
pub(crate) use verdict::{small_damage_is_found, verdict};
pub(crate) use writer::{Pace, Talker, Writer};

const PASSWORD: &str = "Correct-horse-1";
/// Requests at the same time while the town is founded.
const AT_ONCE: usize = 8;

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) token: String,
}

pub(crate) struct Town {
    pub(crate) people: Vec<Person>,
    /// Public rooms. The first is the lobby.
    pub(crate) rooms: Vec<Uuid>,
    /// Who is in each room, as places in `people`. The first one made the room.
    pub(crate) members: Vec<Vec<usize>>,
}

impl Town {
    /// Makes `people` accounts and `rooms` rooms beside the lobby, with `members` people in each.
    pub(crate) async fn found(http: &Http, people: usize, rooms: usize, members: usize) -> Self {
        let people = at_once(people, |number| settle(http.clone(), number)).await;
        let (known, _) = patiently(|| http.rooms(&people[0].token, None)).await.expect("a list");
        let lobby = known.iter().find(|room| room.kind == RoomKind::Lobby);
        let mut town = Self {
            rooms: vec![lobby.expect("everybody is in the lobby").id],
            members: vec![(0..people.len()).collect()],
            people,
        };
        let places = |room: usize| {
            (0..members).map(|place| (room * members + place) % town.people.len()).collect()
        };
        let members: Vec<Vec<usize>> = (0..rooms).map(places).collect();
        let made = at_once(rooms, |number| {
            let members = members[number].iter().map(|who| town.people[*who].clone()).collect();
            make_room(http.clone(), number, members)
        });
        let made = made.await;
        town.rooms.extend(made);
        town.members.extend(members);
        town
    }

    /// The rooms that somebody is in.
    pub(crate) fn rooms_of(&self, who: usize) -> impl Iterator<Item = Uuid> {
        let rooms = self.rooms.iter().zip(&self.members);
        rooms.filter(move |(_, members)| members.contains(&who)).map(|(room, _)| *room)
    }

    /// Every room's whole log, as the server holds it now.
    pub(crate) async fn logs(&self, http: &Http) -> BTreeMap<Uuid, Vec<Logged>> {
        let rooms = self.rooms.iter().zip(&self.members);
        let eyes = rooms.map(|(room, members)| (*room, self.people[members[0]].token.as_str()));
        witness::logs(http, eyes).await.expect("a running node gives its logs")
    }

    /// The generation of each room's history.
    pub(crate) async fn gens(&self, http: &Http) -> BTreeMap<Uuid, u64> {
        self.ends(http).await.into_iter().map(|(room, (r#gen, _))| (room, r#gen)).collect()
    }

    /// The generation of each room's history, and its last seq.
    pub(crate) async fn ends(&self, http: &Http) -> BTreeMap<Uuid, (u64, u64)> {
        let mut ends = BTreeMap::new();
        for (room, members) in self.rooms.iter().zip(&self.members) {
            let token = &self.people[members[0]].token;
            let view = parlance_client::protocol::View::Log;
            let page = patiently(|| http.history_latest(token, *room, 1, view)).await;
            let page = page.expect("a running node gives its history");
            ends.insert(*room, (page.r#gen, page.as_of));
        }
        ends
    }
}

async fn settle(http: Http, number: usize) -> Person {
    let name = format!("person-{number}");
    let id = match patiently(|| http.register(&name, PASSWORD)).await {
        Ok(id) => Some(id),
        // The answer to the first try was lost.
        Err(ClientError::Refused { code, .. }) if code == "name_taken" => None,
        Err(error) => panic!("{name} gets no account: {error}"),
    };
    let tokens = patiently(|| http.login(&name, PASSWORD)).await.expect("the right password");
    let token = tokens.access_token.to_string();
    let id = match id {
        Some(id) => id,
        None => patiently(|| http.me(&token)).await.expect("who the token belongs to").0,
    };
    Person { id, name, token }
}

async fn make_room(http: Http, number: usize, members: Vec<Person>) -> Uuid {
    let (key, name) = (Uuid::now_v7(), format!("room-{number}"));
    let make = || http.create_room(&members[0].token, key, &name, RoomKind::Public);
    let room = patiently(make).await.expect("a free name of a room").id;
    for person in &members[1..] {
        patiently(|| http.join(&person.token, room)).await.expect("a public room can be joined");
    }
    room
}

/// Runs jobs, a few at a time, and gives what they made in their order.
async fn at_once<T, F>(count: usize, job: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    so_many_at_once(AT_ONCE, count, job).await
}

/// The same, so many at a time.
pub(crate) async fn so_many_at_once<T, F>(
    at_once: usize,
    count: usize,
    job: impl Fn(usize) -> F,
) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut made: BTreeMap<usize, T> = BTreeMap::new();
    let mut running = JoinSet::new();
    for number in 0..count {
        let one = job(number);
        running.spawn(async move { (number, one.await) });
        while running.len() >= at_once || (number + 1 == count && !running.is_empty()) {
            let done = running.join_next().await.expect("one is running");
            let (number, one) = done.expect("a job does not panic");
            made.insert(number, one);
        }
    }
    made.into_values().collect()
}

/// What looks like a node's setting in the environment of the tests, such as their own seed: a node
/// refuses what it does not know.
pub(crate) fn names_of_settings() -> impl Iterator<Item = String> {
    std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("PARLANCE_"))
}

/// Waits until something holds, and says what it was when it does not within a minute.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "it never happened: {what}");
}
