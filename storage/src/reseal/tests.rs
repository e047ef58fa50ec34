//! Resealing on both databases: what it changes, what it leaves, and who may interrupt it.

use std::path::PathBuf;

use super::*;
use crate::Storage;
use crate::keyring::REMOVAL_REST;
use crate::testkit::PostgresServer;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const TENANT: TenantId = TenantId::MAIN;
/// More than two batches in one shard.
const MANY: usize = 2 * RESEAL_ROWS_MAX as usize + 9;

/// A ring of two keys, and a `Crypt` from when it had one.
struct Ring {
    _folder: tempfile::TempDir,
    path: PathBuf,
    first: Crypt,
    both: Crypt,
}

impl Ring {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("keys");
        KeyRing::generate(&path, NOW).expect("a first key");
        let first = Crypt::with_ring(&KeyRing::load(&path).expect("a ring"));
        KeyRing::rotate(&path, NOW).expect("a second key");
        let both = Crypt::from_file(&path).expect("a ring");
        Self { _folder: folder, path, first, both }
    }
}

/// A row as it was put in.
#[derive(Debug, Clone)]
struct Put {
    room: RoomId,
    seq: i64,
    aad: EventAad,
    plain: Vec<u8>,
}

async fn put(db: &Db, crypt: &Crypt, room: RoomId, seq: i64, pos: i64) -> Put {
    let (sender, key) = (UserId::generate(), Key::generate());
    let aad = EventAad::new(TENANT, room, sender, key);
    let plain = format!("body {seq} of {room}").into_bytes();
    let (crypt_key, body) = crypt.seal(aad.as_ref(), &plain);
    let crypt_key = crypt_key.map_or("NULL".to_owned(), |id| id.to_string());
    let sql = format!(
        "INSERT INTO {{t}}.event
           (shard, room, seq, pos, epoch, kind, sender, key, target, sent_at, crypt_key, body)
         VALUES ($1, $2, $3, $4, 7, 1, $5, $6, 3, 12345, {crypt_key}, $7)"
    );
    let args = vec![
        Arg::Small(room.shard().0.into()),
        Arg::Id(room.0),
        Arg::Int(seq),
        Arg::Int(pos),
        Arg::Id(sender.0),
        Arg::Id(key.0),
        Arg::Bytes(body),
    ];
    db.rows(TENANT, For::Writing, &sql, args).await.expect("put in");
    Put { room, seq, aad, plain }
}

/// Unsealed rows, rows of the first key and rows of the second, in one large room and some small.
async fn fill(db: &Db, ring: &Ring) -> Vec<Put> {
    let crypts = [&Crypt::off(), &ring.first, &ring.both];
    let large = RoomId(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0005));
    let mut rows = Vec::new();
    for number in 1..=MANY {
        let seq = number as i64;
        rows.push(put(db, crypts[number % 3], large, seq, seq).await);
    }
    for (number, crypt) in crypts.into_iter().enumerate() {
        let shard = if number == 0 { 0 } else { 0xfd + number as u128 };
        let small = RoomId(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0001_0000 + shard));
        rows.push(put(db, crypt, small, 1, 1).await);
    }
    rows
}

/// Everything about the rows but their bodies.
async fn outlines(db: &Db) -> Vec<String> {
    const ALL: &str = "SELECT CAST(shard AS text) || ' ' || CAST(seq AS text) || ' '
        || CAST(pos AS text) || ' ' || CAST(epoch AS text) || ' ' || CAST(kind AS text) || ' '
        || CAST(target AS text) || ' ' || CAST(sent_at AS text), room, sender, key
        FROM {t}.event ORDER BY shard, room, seq";
    let rows = db.rows(TENANT, For::Deciding, ALL, Vec::new()).await.expect("read");
    let outline = |row: &crate::sql::Row| -> Result<String, sqlx::Error> {
        Ok(format!("{} {} {} {}", row.text(0)?, row.id(1)?, row.id(2)?, row.id(3)?))
    };
    rows.iter().map(|row| outline(row).expect("readable")).collect()
}

async fn stored(db: &Db, row: &Put) -> (Option<i32>, Option<Vec<u8>>) {
    const ONE: &str =
        "SELECT crypt_key, body FROM {t}.event WHERE shard = $1 AND room = $2 AND seq = $3";
    let rows = db.rows(TENANT, For::Deciding, ONE, place(row)).await.expect("read");
    (rows[0].maybe_whole(0).expect("a key"), rows[0].maybe_bytes(1).expect("a body"))
}

fn place(row: &Put) -> Vec<Arg> {
    vec![Arg::Small(row.room.shard().0.into()), Arg::Id(row.room.0), Arg::Int(row.seq)]
}

const PLACE: &str = "WHERE shard = $1 AND room = $2 AND seq = $3";

async fn change(db: &Db, update: &str, row: &Put) {
    let sql = format!("{update} {PLACE}");
    db.rows(TENANT, For::Writing, &sql, place(row)).await.expect("changed");
}

async fn whole(config: &StorageConfig) -> Resealed {
    reseal(config, |_| ControlFlow::Continue(())).await.expect("resealed")
}

/// Everything, on a fresh and empty database.
async fn resealing_keeps_its_promises(mut config: StorageConfig) {
    let ring = Ring::new();
    let storage = Storage::open(config.clone()).await.expect("opened");
    let db = &storage.db;
    let rows = fill(db, &ring).await;
    let before = outlines(db).await;
    assert!(reseal(&config, |_| ControlFlow::Continue(())).await.is_err(), "no ring, no resealing");
    config.crypt = ring.both.clone();
    let late = Timestamp(NOW.0 + i64::try_from(REMOVAL_REST.as_millis()).expect("small"));
    let early = remove_key(&config, &ring.path, 1, late).await.expect_err("in use");
    assert!(matches!(early, KeysError::Ring(KeyRingError::InUse { id: 1 })), "{early}");

    // Stopped after its first batch, every row opens.
    let first = reseal(&config, |_| ControlFlow::Break(())).await.expect("resealed");
    assert!(first.stopped && first.resealed > 0, "{first:?}");
    for row in &rows {
        let (key, body) = stored(db, row).await;
        let body = body.expect("it was not blanked");
        assert_eq!(ring.both.open(key, row.aad.as_ref(), body).as_ref(), Ok(&row.plain));
    }

    // A body under a wrong key id is named, left as it is, and stops nobody else's. A blank
    // one stays blank.
    let spoilt = rows.last().expect("rows");
    change(db, "UPDATE {t}.event SET crypt_key = 1", spoilt).await;
    let blank = &rows[MANY / 2];
    change(db, "UPDATE {t}.event SET body = NULL", blank).await;
    let second = whole(&config).await;
    assert_eq!((second.seen, second.unreadable, second.skipped), (rows.len() as u64, 1, 0));
    let room = RoomRef { tenant: TENANT, room: spoilt.room };
    assert_eq!(second.examples, [(room, Seq(1), CryptError::Tampered { key: 1 })]);
    assert!(key_in_use(&config, 1).await.expect("answered"), "the one that does not open");
    change(db, "UPDATE {t}.event SET crypt_key = 2", spoilt).await;

    for row in rows.iter().filter(|row| row.seq != blank.seq) {
        let (key, body) = stored(db, row).await;
        let body = body.expect("it was not blanked");
        assert_eq!(key, Some(2));
        assert_eq!(ring.both.open(key, row.aad.as_ref(), body).as_ref(), Ok(&row.plain));
    }
    assert_eq!(stored(db, blank).await.1, None);
    assert_eq!(outlines(db).await, before, "nothing else changed");
    let again = whole(&config).await;
    assert_eq!((again.resealed, again.seen, again.unreadable), (0, rows.len() as u64, 0));

    let removed = remove_key(&config, &ring.path, 1, late).await.expect("unused and rested");
    assert_eq!(removed.id, 1);
    assert_eq!(KeyRing::load(&ring.path).expect("a ring").list().len(), 1);
}

async fn a_delete_between_reading_and_writing_wins(db: &Db) {
    let ring = Ring::new();
    let room = RoomId(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0002_0077));
    let mut rows = Vec::new();
    for seq in 1..=5 {
        rows.push(put(db, &ring.first, room, seq, seq).await);
    }
    let pass = Pass { db, crypt: &ring.both, newest: 2 };
    let mut done = Resealed::default();
    let batch = pass.read(TENANT, room.shard(), (Uuid::nil(), 0), &mut done).await.expect("read");
    assert_eq!((batch.rewrites.len(), batch.next), (5, None));
    change(db, "UPDATE {t}.event SET body = NULL", &rows[1]).await;
    // On PostgreSQL another one is being blanked at this moment, and nobody waits for it.
    let mut deleting = None;
    if matches!(db, Db::Postgres(_)) {
        let mut transaction = db.begin(TENANT, For::Writing).await.expect("begun");
        let sql = format!("UPDATE {{t}}.event SET body = NULL {PLACE}");
        transaction.rows(&sql, place(&rows[3])).await.expect("blanked");
        deleting = Some(transaction);
    }
    let held = u64::from(deleting.is_some());
    let write = pass.write(TENANT, room.shard(), batch.rewrites);
    let written = tokio::time::timeout(std::time::Duration::from_secs(20), write).await;
    assert_eq!(written.expect("it does not wait").expect("written"), 4 - held);
    if let Some(transaction) = deleting {
        transaction.commit().await.expect("committed");
        assert_eq!(stored(db, &rows[3]).await.1, None);
    }
    assert_eq!(stored(db, &rows[1]).await.1, None, "the delete is not undone");
    assert_eq!(stored(db, &rows[0]).await.0, Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resealing_on_sqlite_changes_keys_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = StorageConfig::new(format!("sqlite:{}", folder.path().display()));
    resealing_keeps_its_promises(config).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resealing_on_postgres_changes_keys_and_nothing_else() {
    let server = PostgresServer::start(false).await;
    resealing_keeps_its_promises(StorageConfig::new(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_beside_resealing_is_never_undone_on_sqlite() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = StorageConfig::new(format!("sqlite:{}", folder.path().display()));
    let storage = Storage::open(config).await.expect("opened");
    a_delete_between_reading_and_writing_wins(&storage.db).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_beside_resealing_is_never_undone_on_postgres() {
    let server = PostgresServer::start(false).await;
    let storage = Storage::open(StorageConfig::new(server.url())).await.expect("opened");
    a_delete_between_reading_and_writing_wins(&storage.db).await;
}
