//! Sealing and opening, against the published vectors and against whoever changes rows.

use proptest::prelude::*;

use super::*;
use parlance_actors::vocab::Timestamp;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn ring_file() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("keys");
    KeyRing::generate(&path, NOW).expect("a first key");
    (dir, path)
}

fn place() -> EventAad {
    EventAad::new(TenantId::MAIN, RoomId::generate(), UserId::generate(), Key::generate())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The two vectors of the specification.
#[test]
fn sealing_is_xaes_256_gcm_as_published() {
    let xnonce = b"ABCDEFGHIJKLMNOPQRSTUVWX";
    let cases: [(u8, &[u8], &str); 2] = [
        (1, b"", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
        (3, b"c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
    ];
    for (byte, aad, expected) in cases {
        let key = RootKey::new(&[byte; 32]);
        let stored = key.seal(xnonce, aad, b"XAES-256-GCM");
        assert_eq!(&stored[..XNONCE_BYTES], xnonce);
        assert_eq!(hex(&stored[XNONCE_BYTES..]), expected);
        assert_eq!(key.open(aad, stored).as_deref(), Some(&b"XAES-256-GCM"[..]));
    }
}

/// Stored bodies depend on these bytes: they never change.
#[test]
fn the_place_of_a_body_is_written_as_ever() {
    let id = |byte: u8| uuid::Uuid::from_bytes([byte; 16]);
    let place = EventAad::new(TenantId(0x0102_0304), RoomId(id(5)), UserId(id(6)), Key(id(7)));
    let expected = format!("01020304{}{}{}", "05".repeat(16), "06".repeat(16), "07".repeat(16));
    assert_eq!(hex(place.as_ref()), expected);
}

proptest! {
    #[test]
    fn what_was_sealed_opens_at_its_place(body in prop::collection::vec(any::<u8>(), 0..2048)) {
        let (_dir, path) = ring_file();
        let crypt = Crypt::with_ring(&KeyRing::load(&path).expect("a ring"));
        let place = place();
        let (key, stored) = crypt.seal(place.as_ref(), &body);
        prop_assert_eq!(key, Some(1));
        prop_assert_eq!(stored.len(), body.len() + SEAL_OVERHEAD_BYTES);
        prop_assert_eq!(crypt.open(key, place.as_ref(), stored), Ok(body));
    }
}

#[test]
fn switched_off_it_stores_bodies_as_they_are_and_names_the_key_it_lacks() {
    let crypt = Crypt::off();
    assert_eq!(crypt.seal(b"place", b"body"), (None, b"body".to_vec()));
    assert_eq!(crypt.open(None, b"place", b"body".to_vec()), Ok(b"body".to_vec()));
    let error = crypt.open(Some(7), b"place", b"body".to_vec()).expect_err("no key");
    assert!(error.to_string().contains("key 7"), "{error}");
    assert_eq!(format!("{crypt:?}"), "Crypt(off)");
}

#[test]
fn rows_from_before_encryption_stay_readable() {
    let (_dir, path) = ring_file();
    let crypt = Crypt::from_file(&path).expect("a ring");
    assert_eq!(crypt.open(None, b"place", b"body".to_vec()), Ok(b"body".to_vec()));
}

#[test]
fn the_same_body_is_never_stored_alike_twice() {
    let (_dir, path) = ring_file();
    let crypt = Crypt::from_file(&path).expect("a ring");
    assert_ne!(crypt.seal(b"place", b"body").1, crypt.seal(b"place", b"body").1);
}

#[test]
fn a_change_of_any_byte_is_noticed() {
    let (_dir, path) = ring_file();
    let crypt = Crypt::from_file(&path).expect("a ring");
    let place = place();
    let (key, stored) = crypt.seal(place.as_ref(), b"a body");
    for at in 0..stored.len() {
        let mut changed = stored.clone();
        changed[at] ^= 1;
        let opened = crypt.open(key, place.as_ref(), changed);
        assert_eq!(opened, Err(CryptError::Tampered { key: 1 }), "byte {at}");
    }
    for length in 0..stored.len() {
        let opened = crypt.open(key, place.as_ref(), stored[..length].to_vec());
        assert_eq!(opened, Err(CryptError::Tampered { key: 1 }), "cut to {length}");
    }
}

#[test]
fn a_body_moved_to_another_row_is_noticed() {
    let (_dir, path) = ring_file();
    let crypt = Crypt::from_file(&path).expect("a ring");
    let (tenant, room) = (TenantId::MAIN, RoomId::generate());
    let (sender, key) = (UserId::generate(), Key::generate());
    let (id, stored) = crypt.seal(EventAad::new(tenant, room, sender, key).as_ref(), b"a body");
    let elsewhere = [
        EventAad::new(TenantId(2), room, sender, key),
        EventAad::new(tenant, RoomId::generate(), sender, key),
        EventAad::new(tenant, room, UserId::generate(), key),
        EventAad::new(tenant, room, sender, Key::generate()),
    ];
    for place in elsewhere {
        let opened = crypt.open(id, place.as_ref(), stored.clone());
        assert_eq!(opened, Err(CryptError::Tampered { key: 1 }));
    }
}

#[test]
fn a_key_that_the_ring_lacks_is_named_with_those_it_has() {
    let (_dir, path) = ring_file();
    KeyRing::rotate(&path, NOW).expect("a second key");
    let crypt = Crypt::from_file(&path).expect("a ring");
    let error = crypt.open(Some(41), b"place", vec![0; 60]).expect_err("unknown");
    assert_eq!(error, CryptError::UnknownKey { key: 41, held: "1, 2".into() });
}

#[test]
fn after_a_rotation_the_new_key_seals_and_both_open() {
    let (_dir, path) = ring_file();
    let before = Crypt::from_file(&path).expect("a ring");
    let old = before.seal(b"place", b"old");
    KeyRing::rotate(&path, NOW).expect("a second key");
    let after = Crypt::from_file(&path).expect("a ring");
    let new = after.seal(b"place", b"new");
    assert_eq!((old.0, new.0), (Some(1), Some(2)));
    assert_eq!(after.open(old.0, b"place", old.1.clone()), Ok(b"old".to_vec()));
    assert_eq!(after.open(new.0, b"place", new.1), Ok(b"new".to_vec()));
    // A body under one key does not open under the other.
    assert_eq!(after.open(Some(2), b"place", old.1.clone()), Err(CryptError::Tampered { key: 2 }));
}

#[test]
fn a_running_server_learns_a_new_key_from_the_first_row_that_names_it() {
    let (_dir, path) = ring_file();
    let server = Crypt::from_file(&path).expect("a ring");
    KeyRing::rotate(&path, NOW).expect("a second key");
    let other = Crypt::from_file(&path).expect("a ring");
    let (key, stored) = other.seal(b"place", b"body");
    assert_eq!(server.newest(), Some(1));
    assert_eq!(server.open(key, b"place", stored.clone()), Ok(b"body".to_vec()));
    assert_eq!(server.newest(), Some(2));
    assert_eq!(server.seal(b"place", b"next").0, Some(2));
}

#[test]
fn a_running_server_looks_at_the_file_when_it_is_time() {
    let (_dir, path) = ring_file();
    let server = Crypt::from_file(&path).expect("a ring");
    KeyRing::rotate(&path, NOW).expect("a second key");
    assert_eq!(server.seal(b"place", b"body").0, Some(1), "it looked only just now");
    let live = server.live.as_ref().expect("on");
    let long_ago = Instant::now().checked_sub(RING_CHECK).expect("the machine is up for longer");
    live.file.as_ref().expect("a file").lock().checked_at = long_ago;
    assert_eq!(server.seal(b"place", b"body").0, Some(2));
}

#[test]
fn a_ring_that_became_unreadable_leaves_the_earlier_one_in_use() {
    let (_dir, path) = ring_file();
    let server = Crypt::from_file(&path).expect("a ring");
    let (key, stored) = server.seal(b"place", b"body");
    std::fs::write(&path, "not a key ring").expect("written");
    assert!(server.open(Some(2), b"place", stored.clone()).is_err());
    assert_eq!(server.open(key, b"place", stored.clone()), Ok(b"body".to_vec()));
    std::fs::remove_file(&path).expect("removed");
    assert!(server.open(Some(2), b"place", stored.clone()).is_err());
    assert_eq!(server.seal(b"place", b"next").0, Some(1));
}
