//! Certificates: what is made is what is read, names keep their rule, files stay.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn a_node_certificate_names_its_node_and_cluster_and_its_authority_signed_it() {
    let authority = Authority::create("town", AUTHORITY_DAYS).expect("an authority");
    let node = authority.sign_node("n1", NODE_DAYS).expect("a node");
    let seen = describe(&node.certificate, Some(authority.certificate())).expect("described");
    assert_eq!(seen.kind, Kind::Node);
    assert_eq!((seen.cluster.as_str(), seen.node.as_deref()), ("town", Some("n1")));
    assert_eq!(seen.signed, Some(true));
    assert!(seen.valid_now);
    assert_eq!(seen.not_after.0 - seen.not_before.0, (365 * 24 + 1) * 3_600 * 1_000);
    assert_eq!(seen.fingerprint.len(), 32 * 3 - 1);
    assert_eq!(seen.serial.len(), 16 * 3 - 1);
}

#[test]
fn another_authority_of_the_same_name_has_not_signed_it() {
    let authority = Authority::create("town", 10).expect("an authority");
    let other = Authority::create("town", 10).expect("an authority");
    let node = authority.sign_node("n1", 1).expect("a node");
    let signed = |by: &str| describe(&node.certificate, Some(by)).expect("described").signed;
    assert_eq!(signed(other.certificate()), Some(false));
    let both = format!("{}{}", other.certificate(), authority.certificate());
    assert_eq!(signed(&both), Some(true));
    assert_eq!(describe(&node.certificate, None).expect("described").signed, None);
}

#[test]
fn an_authority_taken_up_from_its_files_signs_as_before() {
    let made = Authority::create("town", 10).expect("an authority");
    let again = Authority::open(made.certificate(), made.key()).expect("taken up");
    assert_eq!(again.cluster(), "town");
    let node = again.sign_node("n2", 1).expect("a node");
    let seen = describe(&node.certificate, Some(made.certificate())).expect("described");
    assert_eq!(seen.signed, Some(true));
    let seen = describe(made.certificate(), Some(made.certificate())).expect("described");
    assert_eq!((seen.kind, seen.node, seen.signed), (Kind::Authority, None, Some(true)));
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let one = Authority::create("town", 10).expect("an authority");
    let two = Authority::create("town", 10).expect("an authority");
    let node = one.sign_node("n1", 1).expect("a node");
    assert!(matches!(Authority::open(one.certificate(), two.key()), Err(CertError::KeyMismatch)));
    assert!(matches!(
        Authority::open(&node.certificate, &node.key),
        Err(CertError::NotAnAuthority)
    ));
    assert!(matches!(Authority::open("hello", one.key()), Err(CertError::NoCertificate { .. })));
    assert!(matches!(Authority::open(one.certificate(), "hello"), Err(CertError::NoKey { .. })));
    assert!(matches!(one.sign_node("n1", 0), Err(CertError::Days { .. })));
}

#[test]
fn a_certificate_of_something_else_is_foreign() {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["chat.example.org".to_owned()]).expect("names");
    let other = params.self_signed(&key).expect("a certificate");
    assert!(matches!(describe(&other.pem(), None), Err(CertError::Foreign { .. })));
}

#[test]
fn names_have_letters_digits_and_dashes_and_begin_with_a_letter() {
    for good in ["a", "n1", "chat-eu-1", &"a".repeat(40)] {
        check_name("node", good).expect("a name");
    }
    for bad in ["", "1n", "-n", "N1", "n_1", "n.1", "nö", &"a".repeat(41)] {
        assert!(matches!(check_name("node", bad), Err(CertError::Name { .. })), "{bad}");
    }
}

#[test]
fn a_key_file_has_its_mode_and_is_never_overwritten() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("node.key");
    write_new(&path, "one", KEY_MODE).expect("written");
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    assert!(matches!(write_new(&path, "two", KEY_MODE), Err(CertError::Exists { .. })));
    assert_eq!(fs::read_to_string(&path).expect("readable"), "one");
    assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
}
