//! People with accounts, and the rooms that they are in.

use std::collections::BTreeMap;

use parlance_benches::checker::Logged;
use parlance_benches::setup::patiently;
use parlance_benches::witness;
use parlance_client::Http;
use parlance_client::protocol::RoomKind;
use uuid::Uuid;

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) token: String,
}

pub(crate) struct Town {
    pub(crate) people: Vec<Person>,
    /// Public rooms that everybody here is in. The first is the lobby.
    pub(crate) rooms: Vec<Uuid>,
}

impl Town {
    /// Makes `people` accounts and `rooms` rooms beside the lobby.
    pub(crate) async fn found(http: &Http, people: usize, rooms: usize) -> Self {
        const PASSWORD: &str = "Correct-horse-1";
        let mut town = Self { people: Vec::new(), rooms: Vec::new() };
        for number in 0..people {
            let name = format!("person-{number}");
            let id = http.register(&name, PASSWORD).await.expect("a free name");
            let tokens = http.login(&name, PASSWORD).await.expect("the right password");
            town.people.push(Person { id, name, token: tokens.access_token.to_string() });
        }
        let founder = &town.people[0];
        let (known, _) = http.rooms(&founder.token, None).await.expect("a list of rooms");
        let lobby = known.iter().find(|room| room.kind == RoomKind::Lobby);
        town.rooms.push(lobby.expect("everybody is in the lobby").id);
        for number in 0..rooms {
            let (key, name) = (Uuid::now_v7(), format!("room-{number}"));
            let made = http.create_room(&founder.token, key, &name, RoomKind::Public).await;
            let room = made.expect("a free name of a room").id;
            for person in &town.people[1..] {
                http.join(&person.token, room).await.expect("a public room can be joined");
            }
            town.rooms.push(room);
        }
        town
    }

    /// Every room's whole log, as the server holds it now.
    pub(crate) async fn logs(&self, http: &Http) -> BTreeMap<Uuid, Vec<Logged>> {
        let eyes = self.rooms.iter().map(|room| (*room, self.people[0].token.as_str()));
        witness::logs(http, eyes).await.expect("a running node gives its logs")
    }

    /// The generation of each room's history.
    pub(crate) async fn gens(&self, http: &Http) -> BTreeMap<Uuid, u64> {
        let mut gens = BTreeMap::new();
        for room in &self.rooms {
            let token = &self.people[0].token;
            let view = parlance_client::protocol::View::Log;
            let page = patiently(|| http.history_latest(token, *room, 1, view)).await;
            gens.insert(*room, page.expect("a running node gives its history").r#gen);
        }
        gens
    }
}
