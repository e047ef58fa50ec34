//! What every [`Directory`] must do, whatever is behind it. Each case gets a directory of its own,
//! freshly bootstrapped. Durability and failures are the business of each implementation's own tests.

use std::sync::Arc;

use crate::ports::directory::{Directory, DirectoryError, NewRoom, RoomChange};
use crate::vocab::{
    Gen, Key, RoomId, RoomKind, RoomMeta, RoomName, RoomRef, RoomSettings, ShardId, TenantId,
    Timestamp, Topic, UserId,
};

/// Runs every case; `make` gives an empty directory each time.
///
/// # Panics
/// When the directory breaks a promise, with the place of the promise.
pub async fn run<D: Directory>(make: impl AsyncFn() -> D) {
    a_fresh_directory_owns_every_shard(&make().await);
    a_made_room_is_found_at_once(&make().await).await;
    the_same_key_of_the_same_creator_makes_one_room(&make().await).await;
    keys_of_different_creators_do_not_meet(&make().await).await;
    a_name_is_taken_in_any_case(&make().await).await;
    names_of_private_rooms_are_nobodys_business(&make().await).await;
    what_cannot_be_made_is_refused(&make().await).await;
    each_change_grows_the_version_by_one(&make().await).await;
    a_change_that_changes_nothing_keeps_the_version(&make().await).await;
    a_rename_frees_the_old_name(&make().await).await;
    public_rooms_page_by_name_without_the_private_ones(&make().await).await;
    changes_are_told_after_they_can_be_read(&make().await).await;
    one_of_many_concurrent_makers_gets_the_name(Arc::new(make().await)).await;
    a_tenant_does_not_see_the_rooms_of_another(&make().await).await;
}

/// A public room of the main tenant with fresh ids.
#[must_use]
pub fn new_room(name: &str) -> NewRoom {
    NewRoom {
        tenant: TenantId::MAIN,
        id: RoomId::generate(),
        key: Key::generate(),
        kind: RoomKind::Public,
        name: room_name(name),
        topic: Topic::default(),
        by: UserId::generate(),
        at: Timestamp(1_700_000_000_000),
    }
}

fn room_name(text: &str) -> RoomName {
    RoomName::parse(text).expect("a valid name")
}

fn topic(text: &str) -> RoomChange {
    RoomChange { topic: Some(Topic::parse(text).expect("a valid topic")), ..RoomChange::default() }
}

fn rename(text: &str) -> RoomChange {
    RoomChange { name: Some(room_name(text)), ..RoomChange::default() }
}

fn a_fresh_directory_owns_every_shard(directory: &impl Directory) {
    for shard in ShardId::all() {
        let owned = directory.ownership(shard).expect("every shard has an owner");
        assert_eq!(owned.owner, directory.node());
        assert_eq!(owned.r#gen, Gen(1));
        assert!(owned.epoch.0 > 0, "an epoch of 0 is below every fence");
    }
    let tenants = directory.tenants();
    assert_eq!(tenants.len(), 1);
    assert_eq!((tenants[0].id, &*tenants[0].name), (TenantId::MAIN, "main"));
    assert_eq!(directory.room_count(), 0);
    assert!(directory.public_rooms(TenantId::MAIN, "", None, 10).is_empty());
}

async fn a_made_room_is_found_at_once(directory: &impl Directory) {
    let new = NewRoom { topic: Topic::parse("Words").expect("valid"), ..new_room("General") };
    let made = directory.create_room(new.clone()).await.expect("made");
    let expected = RoomMeta {
        tenant: new.tenant,
        id: new.id,
        kind: RoomKind::Public,
        name: Some(new.name.clone()),
        topic: new.topic,
        settings: RoomSettings::default(),
        version: 1,
        created_by: new.by,
        created_at: new.at,
        key: new.key,
        changed_by: new.by,
    };
    assert_eq!(*made, expected);
    assert_eq!(directory.room(made.at()).as_deref(), Some(&expected));
    for name in ["General", "general", "GENERAL"] {
        let found = directory.room_by_name(TenantId::MAIN, &room_name(name));
        assert_eq!(found.as_deref(), Some(&expected), "by the name {name}");
    }
    assert_eq!(directory.room_count(), 1);
    directory.barrier().await.expect("a leader");
    directory.healthy().await.expect("healthy");
    let missing = RoomRef { tenant: TenantId::MAIN, room: RoomId::generate() };
    assert_eq!(directory.room(missing), None);
    assert_eq!(directory.room_by_name(TenantId::MAIN, &room_name("generals")), None);
}

async fn the_same_key_of_the_same_creator_makes_one_room(directory: &impl Directory) {
    let new = new_room("one");
    let made = directory.create_room(new.clone()).await.expect("made");
    let again = NewRoom { id: RoomId::generate(), name: room_name("other"), ..new.clone() };
    assert_eq!(directory.create_room(again).await.expect("repeated"), made);
    assert_eq!(directory.create_room(new.clone()).await.expect("repeated"), made);
    assert_eq!(directory.room_by_name(TenantId::MAIN, &room_name("other")), None);
    assert_eq!(directory.room_count(), 1);
    let renamed = directory.change_room(made.at(), rename("two"), new.by).await.expect("renamed");
    let late = directory.create_room(new).await.expect("repeated after a rename");
    assert_eq!(late, renamed, "a repeat shows the room as it is now");
}

async fn keys_of_different_creators_do_not_meet(directory: &impl Directory) {
    let new = new_room("mine");
    let theirs = NewRoom { key: new.key, ..new_room("theirs") };
    let mine = directory.create_room(new).await.expect("made");
    let theirs = directory.create_room(theirs).await.expect("made");
    assert_ne!(mine.id, theirs.id);
}

async fn a_name_is_taken_in_any_case(directory: &impl Directory) {
    directory.create_room(new_room("Straße")).await.expect("made");
    for name in ["Straße", "STRAßE", "straße", "Lobby"] {
        let taken = directory.create_room(new_room(name)).await;
        assert!(matches!(taken, Err(DirectoryError::NameTaken)), "{name}: {taken:?}");
    }
    let other = directory.create_room(new_room("other")).await.expect("made");
    let taken = directory.change_room(other.at(), rename("strasse"), other.created_by).await;
    taken.expect("lower case is not full case folding");
    let taken = directory.change_room(other.at(), rename("STRAßE"), other.created_by).await;
    assert!(matches!(taken, Err(DirectoryError::NameTaken)), "{taken:?}");
    let kept = directory.room(other.at()).expect("there");
    assert_eq!(kept.name, Some(room_name("strasse")), "a refused rename changes nothing");
    assert_eq!(directory.room_count(), 2);
}

async fn names_of_private_rooms_are_nobodys_business(directory: &impl Directory) {
    let private = |name| NewRoom { kind: RoomKind::Private, ..new_room(name) };
    let secret = directory.create_room(private("merger")).await.expect("made");
    assert_eq!(directory.room_by_name(TenantId::MAIN, &room_name("merger")), None);
    let public = directory.create_room(new_room("Merger")).await.expect("who asks learns nothing");
    let second = directory.create_room(private("MERGER")).await.expect("nor with a private one");
    let named = || directory.room_by_name(TenantId::MAIN, &room_name("merger"));
    assert_eq!(named(), Some(public.clone()));
    for (room, name) in [(&second, "merger"), (&secret, "other")] {
        directory.change_room(room.at(), rename(name), room.created_by).await.expect("renamed");
        assert_eq!(named(), Some(public.clone()), "the name stays the public room's");
    }
    directory.change_room(public.at(), rename("other"), public.created_by).await.expect("free");
    let lobby = directory.create_room(private("lobby")).await;
    assert!(matches!(lobby, Err(DirectoryError::NameTaken)), "{lobby:?}");
}

async fn what_cannot_be_made_is_refused(directory: &impl Directory) {
    let made = directory.create_room(new_room("a")).await.expect("made");
    let stranger = NewRoom { tenant: TenantId(77), ..new_room("b") };
    let same_id = NewRoom { id: made.id, ..new_room("c") };
    let direct = NewRoom { kind: RoomKind::Direct, ..new_room("d") };
    let lobby = NewRoom { kind: RoomKind::Lobby, ..new_room("e") };
    for new in [stranger, same_id, direct, lobby] {
        let refused = directory.create_room(new.clone()).await;
        assert!(matches!(refused, Err(DirectoryError::Refused(_))), "{new:?}: {refused:?}");
    }
    let missing = RoomRef { tenant: TenantId::MAIN, room: RoomId::generate() };
    let refused = directory.change_room(missing, rename("b"), UserId::generate()).await;
    assert!(matches!(refused, Err(DirectoryError::NoSuchRoom)), "{refused:?}");
    assert_eq!(directory.room_count(), 1);
}

async fn each_change_grows_the_version_by_one(directory: &impl Directory) {
    let made = directory.create_room(new_room("a")).await.expect("made");
    let settings =
        RoomChange { settings: Some(RoomSettings { slow_mode_seconds: 5 }), ..topic("both") };
    let by = UserId::generate();
    for (version, change) in [(2, topic("one")), (3, rename("A")), (4, rename("b")), (5, settings)]
    {
        let after = directory.change_room(made.at(), change.clone(), by).await.expect("changed");
        assert_eq!((after.version, after.changed_by), (version, by));
        assert_eq!((after.created_by, after.key), (made.created_by, made.key));
        assert!(change.name.is_none_or(|name| after.name == Some(name)));
        assert!(change.topic.is_none_or(|topic| after.topic == topic));
        assert!(change.settings.is_none_or(|settings| after.settings == settings));
        assert_eq!(directory.room(made.at()), Some(after));
    }
}

async fn a_change_that_changes_nothing_keeps_the_version(directory: &impl Directory) {
    let made = directory.create_room(new_room("a")).await.expect("made");
    let mut changes = directory.changes();
    for change in [RoomChange::default(), rename("a"), topic("")] {
        let after = directory.change_room(made.at(), change, UserId::generate()).await;
        assert_eq!(after.expect("accepted"), made);
    }
    assert!(changes.try_recv().is_err(), "nothing changed, so nothing is told");
}

async fn a_rename_frees_the_old_name(directory: &impl Directory) {
    let made = directory.create_room(new_room("old")).await.expect("made");
    let by = made.created_by;
    let renamed = directory.change_room(made.at(), rename("new"), by).await.expect("renamed");
    assert_eq!(directory.room_by_name(TenantId::MAIN, &room_name("old")), None);
    assert_eq!(directory.room_by_name(TenantId::MAIN, &room_name("new")), Some(renamed));
    let second = directory.create_room(new_room("OLD")).await.expect("the name is free");
    assert_eq!(directory.room_by_name(TenantId::MAIN, &room_name("old")), Some(second));
}

async fn public_rooms_page_by_name_without_the_private_ones(directory: &impl Directory) {
    let mut public = Vec::new();
    for n in 0..25 {
        let kind = if n % 5 == 0 { RoomKind::Private } else { RoomKind::Public };
        // Ids out of order: the order of pages must not be that of making.
        let id = RoomId(uuid::Uuid::from_u128((n * 7 % 25) << 64));
        let name = if n.is_multiple_of(3) { format!("Room {n}") } else { format!("room {n}") };
        let new = NewRoom { kind, id, ..new_room(&name) };
        let made = directory.create_room(new).await.expect("made");
        public.extend((kind == RoomKind::Public).then_some((n, made.id)));
    }
    // By folded name: "room 1", "room 11", …, "Room 2".
    let name =
        |n: u128| if n.is_multiple_of(3) { format!("Room {n}") } else { format!("room {n}") };
    public.sort_by_key(|(n, _)| name(*n).to_lowercase());
    let public: Vec<RoomId> = public.into_iter().map(|(_, id)| id).collect();
    let seen = |prefix: &str, limit: u16| {
        let mut seen: Vec<RoomId> = Vec::new();
        loop {
            let after = seen.last().copied();
            let page = directory.public_rooms(TenantId::MAIN, prefix, after, limit);
            assert!(page.len() <= usize::from(limit));
            seen.extend(page.iter().map(|room| room.id));
            if page.is_empty() {
                return seen;
            }
        }
    };
    for limit in [1, 7, 20, 200] {
        assert_eq!(seen("", limit), public, "pages of {limit}");
        assert_eq!(seen("ROOM ", limit), public, "pages of {limit}");
    }
    assert_eq!(seen("room 2", 2).len(), 5, "2, 21, 22, 23 and 24");
    assert_eq!(seen("rooms", 2), []);
    // Lower case makes another letter of a sigma at the end.
    let street = directory.create_room(new_room("ΟΔΟΣΑ")).await.expect("made");
    for prefix in ["ΟΔΟΣ", "οδος", "οδοσ"] {
        assert_eq!(seen(prefix, 2), [street.id], "{prefix}");
    }
    let renamed = directory.room_by_name(TenantId::MAIN, &room_name("room 21")).expect("made");
    let change = RoomChange { name: Some(room_name("hall")), ..RoomChange::default() };
    directory.change_room(renamed.at(), change, renamed.created_by).await.expect("renamed");
    assert_eq!(seen("room 2", 2).len(), 4);
    assert_eq!(seen("HA", 2), [renamed.id]);
    let unknown = Some(RoomId(uuid::Uuid::from_u128(u128::MAX)));
    assert!(directory.public_rooms(TenantId::MAIN, "", unknown, 10).is_empty());
}

async fn changes_are_told_after_they_can_be_read(directory: &impl Directory) {
    let mut changes = directory.changes();
    let made = directory.create_room(new_room("a")).await.expect("made");
    assert_eq!(changes.recv().await.expect("told"), made.at());
    assert!(directory.room(made.at()).is_some());
    directory.change_room(made.at(), topic("t"), made.created_by).await.expect("changed");
    assert_eq!(changes.recv().await.expect("told"), made.at());
    assert_eq!(directory.room(made.at()).expect("there").version, 2);
}

async fn one_of_many_concurrent_makers_gets_the_name(directory: Arc<impl Directory>) {
    let mut makers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let directory = directory.clone();
        makers.spawn(async move { directory.create_room(new_room("wanted")).await });
    }
    let results = makers.join_all().await;
    let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    assert!(lost.iter().all(|lost| matches!(lost, Err(DirectoryError::NameTaken))), "{lost:?}");
    assert_eq!(directory.room_count(), 1);
}

async fn a_tenant_does_not_see_the_rooms_of_another(directory: &impl Directory) {
    let made = directory.create_room(new_room("a")).await.expect("made");
    let other = TenantId(2);
    assert_eq!(directory.room(RoomRef { tenant: other, room: made.id }), None);
    assert_eq!(directory.room_by_name(other, &room_name("a")), None);
    assert!(directory.public_rooms(other, "", None, 10).is_empty());
}
