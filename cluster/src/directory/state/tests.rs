//! What holds for the state after any sequence of commands.

use std::collections::{HashMap, HashSet};

use parlance_actors::ports::directory::Ownership;
use parlance_actors::vocab::{Key, RoomMeta, RoomName, ShardId, Timestamp, Topic, UserId};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::directory::command::{FoldedName, ListedKind};

/// Few of everything, so that commands meet.
fn uuid(n: u8) -> Uuid {
    Uuid::from_u128(u128::from(n) << 32)
}

fn name() -> impl Strategy<Value = FoldedName> {
    let names = ["general", "General", "GENERAL", "random", "Straße", "straße", "lobby", "Ünïcode"];
    prop::sample::select(names.to_vec())
        .prop_map(|name| FoldedName::new(RoomName::parse(name).expect("a valid name")))
}

fn topic() -> impl Strategy<Value = Topic> {
    prop::sample::select(vec!["", "one", "two"])
        .prop_map(|topic| Topic::parse(topic).expect("a valid topic"))
}

fn tenant() -> impl Strategy<Value = TenantId> {
    prop_oneof![9 => Just(TenantId::MAIN), 1 => Just(TenantId(2))]
}

fn create() -> impl Strategy<Value = Command> {
    let kind = prop_oneof![Just(ListedKind::Public), Just(ListedKind::Private)];
    (tenant(), 0..12_u8, 0..6_u8, kind, name(), topic(), 0..3_u8).prop_map(
        |(tenant, id, key, kind, name, topic, by)| {
            let (id, key, by) = (RoomId(uuid(id)), Key(uuid(key)), UserId(uuid(by)));
            let at = Timestamp(5);
            Command::CreateRoom(CreateRoom { tenant, id, key, kind, name, topic, by, at })
        },
    )
}

fn change() -> impl Strategy<Value = Command> {
    let slow = option::of(0..3_u32);
    (tenant(), 0..12_u8, option::of(name()), option::of(topic()), slow, 0..3_u8).prop_map(
        |(tenant, room, name, topic, slow_mode_seconds, by)| {
            let (room, by) = (RoomId(uuid(room)), UserId(uuid(by)));
            Command::ChangeRoom(ChangeRoom { tenant, room, name, topic, slow_mode_seconds, by })
        },
    )
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    vec(prop_oneof![create(), change()], 0..60)
}

fn bootstrap() -> Command {
    Command::Bootstrap(Bootstrap { cluster: uuid(1), node: NodeId(1), epoch_base: Epoch(40) })
}

fn bootstrapped() -> State {
    let mut state = State::default();
    assert_eq!(state.apply(2, &bootstrap()), Response::Done);
    state
}

fn replay(commands: &[Command]) -> State {
    let mut state = bootstrapped();
    for (index, command) in (3..).zip(commands) {
        state.apply(index, command);
    }
    state
}

fn every_room(state: &State) -> Vec<Arc<RoomMeta>> {
    let records = state.rooms.records().into_iter();
    records.map(|record| Arc::new(RoomMeta::from(record))).collect()
}

/// Every index says the same as the rooms themselves.
fn check_indexes(state: &State) {
    let rooms = every_room(state);
    assert_eq!(rooms.len(), state.room_count());
    let mut names = HashSet::new();
    for room in &rooms {
        let name = room.name.as_ref().expect("listed rooms have names");
        assert_ne!(name.folded(), LOBBY);
        assert_eq!(state.room(room.at()).as_ref(), Some(room));
        if room.kind == parlance_actors::vocab::RoomKind::Public {
            assert!(names.insert((room.tenant, name.folded())), "{name} is there twice");
            assert_eq!(state.room_by_name(room.tenant, &name.folded()).as_ref(), Some(room));
        }
        let made = state.rooms.made_with(room.tenant, room.created_by, room.key);
        assert_eq!(made.map(|made| &made.meta), Some(room));
    }
    for tenant in [TenantId::MAIN, TenantId(2)] {
        let public = rooms.iter().filter(|room| {
            room.tenant == tenant && room.kind == parlance_actors::vocab::RoomKind::Public
        });
        let mut public: Vec<_> = public.cloned().collect();
        public.sort_by_key(|room| room.name.as_ref().map(RoomName::folded));
        assert_eq!(state.public_rooms(tenant, "", None, u16::MAX), public);
    }
    for folded in ["general", "random", "straße", "ünïcode"] {
        let found = state.room_by_name(TenantId::MAIN, folded);
        assert_eq!(found.is_some(), names.contains(&(TenantId::MAIN, folded.to_owned())));
    }
}

proptest! {
    #[test]
    fn names_are_unique_and_indexes_agree_after_every_command(commands in commands()) {
        let mut state = bootstrapped();
        for (index, command) in (3..).zip(&commands) {
            state.apply(index, command);
            check_indexes(&state);
        }
    }

    #[test]
    fn a_version_grows_by_one_exactly_when_something_changed(commands in commands()) {
        let mut state = bootstrapped();
        let mut versions: HashMap<RoomRef, u64> = HashMap::new();
        for (index, command) in (3..).zip(&commands) {
            let before = state.clone();
            match state.apply(index, command) {
                Response::Room { room, changed } => {
                    let at = RoomRef { tenant: room.tenant, room: room.id };
                    let version = versions.entry(at).or_default();
                    *version += u64::from(changed);
                    prop_assert_eq!(room.version, *version);
                    prop_assert_eq!(changed, state != before);
                    prop_assert_eq!(state.rooms.get(at.tenant, at.room).map(Listed::record), Some(room));
                }
                Response::Done | Response::Admitted(_) => {
                    prop_assert!(false, "no command here is done without a room");
                }
                Response::NameTaken | Response::NoSuchRoom | Response::Refused(_) => {
                    prop_assert_eq!(&state, &before);
                }
            }
        }
    }

    #[test]
    fn making_a_room_again_gives_the_first_one(commands in commands(), again in create()) {
        let mut state = replay(&commands);
        let first = state.apply(100, &again);
        let after = state.clone();
        let second = state.apply(101, &again);
        prop_assert_eq!(&state, &after);
        match (first, second) {
            (Response::Room { room, .. }, Response::Room { room: same, changed }) => {
                prop_assert_eq!(room, same);
                prop_assert!(!changed);
            }
            (first, second) => prop_assert_eq!(first, second),
        }
    }

    #[test]
    fn the_same_log_gives_the_same_state(commands in commands()) {
        prop_assert_eq!(replay(&commands), replay(&commands));
    }

    #[test]
    fn a_snapshot_anywhere_in_the_log_changes_nothing(commands in commands(), cut in 0..60_usize) {
        let cut = cut.min(commands.len());
        let bytes = postcard::to_stdvec(&replay(&commands[..cut]).record()).expect("encodes");
        let record = postcard::from_bytes(&bytes).expect("decodes");
        let mut state = State::from_record(record).expect("sound");
        prop_assert_eq!(&state, &replay(&commands[..cut]));
        for (index, command) in (3 + cut as u64..).zip(&commands[cut..]) {
            state.apply(index, command);
        }
        prop_assert_eq!(state, replay(&commands));
    }
}

#[test]
fn bootstrap_gives_every_shard_an_epoch_above_the_base() {
    let state = bootstrapped();
    for shard in ShardId::all() {
        let owned = Ownership {
            owner: NodeId(1),
            epoch: Epoch(42),
            r#gen: Gen(1),
            moving_to: None,
            database: None,
        };
        assert_eq!(state.ownership(shard), Some(owned));
    }
    assert_eq!(&*state.tenants()[0].name, "main");
}

#[test]
fn a_second_bootstrap_changes_nothing() {
    let mut state = bootstrapped();
    let before = state.clone();
    assert!(matches!(state.apply(9, &bootstrap()), Response::Refused(_)));
    assert_eq!(state, before);
}

#[test]
fn before_bootstrap_nobody_serves_and_nothing_is_made() {
    let mut state = State::default();
    let new = CreateRoom {
        tenant: TenantId::MAIN,
        id: RoomId(uuid(1)),
        key: Key(uuid(1)),
        kind: ListedKind::Public,
        name: FoldedName::new(RoomName::parse("a").expect("a valid name")),
        topic: Topic::default(),
        by: UserId(uuid(1)),
        at: Timestamp(1),
    };
    assert!(matches!(state.apply(1, &Command::CreateRoom(new)), Response::Refused(_)));
    assert!(ShardId::all().all(|shard| state.ownership(shard).is_none()));
    assert_eq!(state, State::default());
}

#[test]
fn the_lobbys_name_is_the_one_that_is_kept_free() {
    let lobby = RoomMeta::lobby(TenantId::MAIN).name.expect("the lobby has a name");
    assert_eq!(lobby.folded(), LOBBY);
}

#[test]
fn a_hundred_thousand_rooms_page_in_order_and_survive_a_snapshot() {
    const ROOMS: u64 = 100_000;
    let mut state = bootstrapped();
    for n in 0..ROOMS {
        // Ids that do not come in their order.
        let id = RoomId(Uuid::from_u128(u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 32));
        let new = CreateRoom {
            tenant: TenantId::MAIN,
            id,
            key: Key(id.0),
            kind: if n % 2 == 0 { ListedKind::Public } else { ListedKind::Private },
            name: FoldedName::new(RoomName::parse(&format!("Room {n}")).expect("a valid name")),
            topic: Topic::default(),
            by: UserId(uuid(1)),
            at: Timestamp(1),
        };
        let response = state.apply(3 + n, &Command::CreateRoom(new));
        assert!(matches!(response, Response::Room { changed: true, .. }), "{response:?}");
    }
    let (mut seen, mut names): (Vec<RoomId>, Vec<String>) = Default::default();
    loop {
        let page = state.public_rooms(TenantId::MAIN, "", seen.last().copied(), 200);
        if page.is_empty() {
            break;
        }
        names.extend(page.iter().map(|room| room.name.as_ref().expect("named").folded()));
        seen.extend(page.iter().map(|room| room.id));
    }
    assert_eq!(seen.len() as u64, ROOMS / 2);
    assert!(names.is_sorted());
    let started = std::time::Instant::now();
    let record = state.record();
    let taken = started.elapsed();
    let bytes = postcard::to_stdvec(&record).expect("encodes");
    let encoded = started.elapsed();
    let again = State::from_record(postcard::from_bytes(&bytes).expect("decodes")).expect("sound");
    println!(
        "taken in {taken:?}, encoded by {encoded:?} ({} bytes), decoded by {:?}",
        bytes.len(),
        started.elapsed()
    );
    assert_eq!(again, state);
}

#[test]
fn the_bytes_of_a_snapshot_never_change() {
    let mut state = bootstrapped();
    let new = CreateRoom {
        tenant: TenantId::MAIN,
        id: RoomId(Uuid::from_bytes([1; 16])),
        key: Key(Uuid::from_bytes([2; 16])),
        kind: ListedKind::Private,
        name: FoldedName::new(RoomName::parse("Hi").expect("a valid name")),
        topic: Topic::parse("t").expect("a valid topic"),
        by: UserId(Uuid::from_bytes([3; 16])),
        at: Timestamp(64),
    };
    state.apply(3, &Command::CreateRoom(new));
    let id = |n: &str| "10".to_owned() + &n.repeat(16);
    // Cluster, epoch base, one tenant, one node, 256 shards, one room.
    let cluster = "0110".to_owned() + "00000000000000000000000100000000";
    let first_shard = ["01", "2a", "01", "01"].concat();
    let shard = first_shard.clone() + "000000";
    let room = [
        "01",
        &id("01"),
        "01",
        "024869",
        "026869",
        "0174",
        "00",
        "01",
        &id("03"),
        "8001",
        &id("02"),
        &id("03"),
    ]
    .concat();
    let tenants = "0101046d61696e";
    let node = "02".to_owned() + "000000000000" + &id("00");
    let now = [
        &cluster,
        "28",
        tenants,
        "0101",
        &node,
        "01",
        "8002",
        &shard.repeat(256),
        "00",
        "01",
        &room,
    ];
    let bytes = postcard::to_stdvec(&state.record()).expect("encodes");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, now.concat());

    // What nodes wrote that were alone.
    let first =
        [&cluster, "28", tenants, "010102", "8002", &first_shard.repeat(256), "01", &room].concat();
    let first: Vec<u8> = (0..first.len() / 2)
        .map(|at| u8::from_str_radix(&first[at * 2..at * 2 + 2], 16).expect("hexadecimal"))
        .collect();
    let first: FirstStateRecord = postcard::from_bytes(&first).expect("decodes");
    assert_eq!(State::from_record(first.into()).expect("sound"), state);
}
