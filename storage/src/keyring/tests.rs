//! The key ring file: its life, and what it refuses.

use std::os::unix::fs::PermissionsExt;

use super::*;

const START: Timestamp = Timestamp(1_800_000_000_123);

fn after(wait: Duration) -> Timestamp {
    Timestamp(START.0 + i64::try_from(wait.as_millis()).expect("small"))
}

fn ring_file() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("keys");
    (dir, path)
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("mode set");
}

#[test]
fn a_ring_grows_by_rotation_and_shrinks_by_removal() {
    let (_dir, path) = ring_file();
    let first = KeyRing::generate(&path, START).expect("a first key");
    assert_eq!(first, KeyInfo { id: 1, created_at: Timestamp(1_800_000_000_000), seals: true });
    let second = KeyRing::rotate(&path, START).expect("a second key");
    assert_eq!((second.id, second.seals), (2, true));
    let ids =
        |ring: &KeyRing| ring.list().iter().map(|key| (key.id, key.seals)).collect::<Vec<_>>();
    assert_eq!(ids(&KeyRing::load(&path).expect("a ring")), [(1, false), (2, true)]);
    KeyRing::remove(&path, 1, false, after(REMOVAL_REST)).expect("unused and rested");
    assert_eq!(ids(&KeyRing::load(&path).expect("a ring")), [(2, true)]);
    let third = KeyRing::rotate(&path, START).expect("a third key");
    assert_eq!(third.id, 3, "ids are not used again");
}

#[test]
fn keys_survive_the_file_and_are_all_different() {
    let (_dir, path) = ring_file();
    KeyRing::generate(&path, START).expect("a first key");
    let before: Vec<_> =
        KeyRing::load(&path).expect("a ring").keys().map(|(id, key)| (id, *key)).collect();
    KeyRing::rotate(&path, START).expect("a second key");
    let ring = KeyRing::load(&path).expect("a ring");
    let keys: Vec<_> = ring.keys().map(|(id, key)| (id, *key)).collect();
    assert_eq!(keys[..1], before[..]);
    assert_ne!(keys[0].1, keys[1].1);
}

#[test]
fn generating_over_a_ring_is_refused_and_changes_nothing() {
    let (_dir, path) = ring_file();
    KeyRing::generate(&path, START).expect("a first key");
    let before = std::fs::read(&path).expect("readable");
    let error = KeyRing::generate(&path, START).expect_err("it exists");
    assert!(matches!(error, KeyRingError::Exists { .. }), "{error}");
    assert_eq!(std::fs::read(&path).expect("readable"), before);
}

#[test]
fn the_file_is_private_and_an_open_one_is_refused() {
    let (_dir, path) = ring_file();
    KeyRing::generate(&path, START).expect("a first key");
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    KeyRing::rotate(&path, START).expect("a second key");
    assert_eq!(mode(&path), 0o600);
    for open in [0o640, 0o604, 0o660] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(open)).expect("mode set");
        let error = KeyRing::load(&path).expect_err("others may read it");
        assert!(error.to_string().contains(&format!("mode {open:o}")), "{error}");
    }
}

#[test]
fn a_key_that_seals_or_is_used_or_was_just_replaced_stays() {
    let (_dir, path) = ring_file();
    KeyRing::generate(&path, START).expect("a first key");
    let late = after(REMOVAL_REST);
    let remove = |id, in_use, now| KeyRing::remove(&path, id, in_use, now).expect_err("it stays");
    assert!(matches!(remove(1, false, late), KeyRingError::Seals { id: 1 }));
    assert!(matches!(remove(9, false, late), KeyRingError::NoSuchKey { id: 9 }));
    KeyRing::rotate(&path, START).expect("a second key");
    assert!(matches!(remove(1, true, late), KeyRingError::InUse { id: 1 }));
    assert!(matches!(remove(1, false, START), KeyRingError::TooSoon { id: 1, wait_s: 600 }));
    assert_eq!(KeyRing::load(&path).expect("a ring").list().len(), 2);
}

#[test]
fn two_commands_never_change_the_ring_at_once() {
    let (_dir, path) = ring_file();
    KeyRing::generate(&path, START).expect("a first key");
    let other = lock(&path).expect("the first one gets it");
    let error = KeyRing::rotate(&path, START).expect_err("the other holds it");
    assert!(matches!(error, KeyRingError::Locked { .. }), "{error}");
    drop(other);
    KeyRing::rotate(&path, START).expect("the other has ended");
}

#[test]
fn a_crash_before_the_rename_leaves_the_old_ring_and_no_obstacle() {
    let (_dir, path) = ring_file();
    KeyRing::generate(&path, START).expect("a first key");
    write(&beside(&path, ".new"), "half a li");
    assert_eq!(KeyRing::load(&path).expect("the old ring").newest(), 1);
    assert_eq!(KeyRing::rotate(&path, START).expect("a second key").id, 2);
}

#[test]
fn a_full_ring_takes_no_more_keys() {
    let (_dir, path) = ring_file();
    KeyRing::generate(&path, START).expect("a first key");
    for _ in 1..KEYS_MAX {
        KeyRing::rotate(&path, START).expect("another key");
    }
    let error = KeyRing::rotate(&path, START).expect_err("full");
    assert!(matches!(error, KeyRingError::Full), "{error}");
}

#[test]
fn what_is_not_a_key_ring_is_refused_by_line_without_showing_it() {
    let key = STANDARD.encode((0..32).collect::<Vec<u8>>());
    let date = "2026-01-31T00:00:00Z";
    let good = format!("1 {date} {key}\n");
    let cases = [
        (String::new(), 0, "no key"),
        ("# only a comment\n".into(), 0, "no key"),
        (format!("{good}{good}"), 2, "twice"),
        (format!("{good}2 {date}\n"), 2, "three fields"),
        (format!("{good}2 {date} {key} more\n"), 2, "three fields"),
        (format!("0 {date} {key}\n"), 1, "whole number"),
        (format!("99999999999 {date} {key}\n"), 1, "whole number"),
        (format!("1 yesterday {key}\n"), 1, "date"),
        (format!("1 {date} {}\n", &key[..40]), 1, "32 bytes"),
        (format!("1 {date} {}\n", STANDARD.encode([9; 33])), 1, "32 bytes"),
        (format!("1 {date} {}\n", STANDARD.encode([7; 32])), 1, "placeholder"),
    ];
    let (_dir, path) = ring_file();
    for (text, line, why) in cases {
        write(&path, &text);
        let error = KeyRing::load(&path).expect_err("not a key ring").to_string();
        assert!(error.contains(&format!("line {line}: ")) && error.contains(why), "{error}");
        assert!(!error.contains(&key[..16]), "{error}");
    }
    write(&path, &good);
    assert_eq!(KeyRing::load(&path).expect("a ring").newest(), 1);
}

#[test]
fn debug_shows_ids_and_no_key() {
    let (_dir, path) = ring_file();
    KeyRing::generate(&path, START).expect("a first key");
    assert_eq!(format!("{:?}", KeyRing::load(&path).expect("a ring")), "{1}");
}
