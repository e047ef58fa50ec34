//! Certificates that are replaced while links are open.

use super::*;

/// The round of a rotation: everybody trusts both authorities, then everybody has a certificate of
/// the new one, then the old one is no longer trusted. No open connection is cut in any of them.
#[tokio::test]
async fn certificates_rotate_without_cutting_connections() {
    let town = Town::new();
    let next = Authority::create("town", 10).expect("an authority");
    let (old_ca, new_ca) = (town.authority.certificate(), next.certificate());
    let both = format!("{old_ca}{new_ca}");
    let (id1, id2) = (town.identity("n1"), town.identity("n2"));
    let one = node(Arc::clone(&id1), Hello::default());
    let two = node(Arc::clone(&id2), Hello::default());
    let place = two.place(Some("n2"));
    assert!(one.ask(&place, "hi").await.is_ok());

    // Somebody with a certificate of the new authority is not let in yet.
    let newcomer = Identity::open(town.issue("n3", &next, &both)).expect("an identity");
    let three = node(newcomer, Hello::default());
    assert!(matches!(three.ask(&place, "hi").await, Err(CallError::WrongPeer { .. })));

    for (identity, name) in [(&id1, "n1"), (&id2, "n2")] {
        fs::write(town.files(name).ca, &both).expect("written");
        assert!(identity.refresh());
        assert!(!identity.refresh(), "nothing changed since");
    }
    let four = node(Identity::open(town.issue("n4", &next, &both)).expect("n4"), Hello::default());
    assert!(four.ask(&place, "hi").await.is_ok());

    for (identity, name) in [(&id1, "n1"), (&id2, "n2")] {
        town.issue(name, &next, new_ca);
        assert!(identity.refresh());
    }
    // Somebody who trusts the new authority alone, and whom only it vouches for.
    let five = node(Identity::open(town.issue("n5", &next, new_ca)).expect("n5"), Hello::default());
    assert!(five.ask(&place, "hi").await.is_ok());
    let six = node(town.identity("n6"), Hello::default());
    assert!(matches!(six.ask(&place, "hi").await, Err(CallError::WrongPeer { .. })));

    assert!(one.ask(&place, "still").await.is_ok());
    assert_eq!(one.links.links()[0].interruptions, 0);
}

#[tokio::test]
async fn files_are_read_again_by_themselves() {
    let town = Town::new();
    let next = Authority::create("town", 10).expect("an authority");
    let two = node(town.identity("n2"), Hello::default());
    let both = format!("{}{}", town.authority.certificate(), next.certificate());
    let three = node(Identity::open(town.issue("n3", &next, &both)).expect("n3"), Hello::default());
    assert!(three.ask(&two.place(None), "hi").await.is_err());
    fs::write(town.files("n2").ca, &both).expect("written");
    let let_in = tokio::time::timeout(PATIENCE, async {
        while three.ask(&two.place(None), "hi").await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let_in.await.expect("the new authority is trusted");
}

#[test]
fn bad_files_are_not_taken_and_the_old_ones_stay() {
    let town = Town::new();
    let identity = town.identity("n1");
    let files = town.files("n1");
    let before = (fs::read(&files.cert).expect("read"), fs::read(&files.key).expect("read"));
    let other = town.authority.sign_node("n2", 5).expect("a certificate");
    let stranger = Authority::create("town", 5).expect("an authority");
    let unsigned = stranger.sign_node("n1", 5).expect("a certificate");
    for (certificate, key) in [
        ("hello", "hello"),
        ("", ""),
        // Another node's name, another authority's signature, another certificate's key.
        (&other.certificate, &other.key),
        (&unsigned.certificate, &unsigned.key),
        (&String::from_utf8_lossy(&before.0), &other.key),
    ] {
        fs::write(&files.cert, certificate).expect("written");
        fs::write(&files.key, key).expect("written");
        assert!(!identity.refresh());
        assert_eq!(identity.name(), PeerName("n1".into()));
    }
    // A certificate arrives before its key: it counts once both are there.
    let renewed = town.authority.sign_node("n1", 5).expect("a certificate");
    fs::write(&files.cert, &renewed.certificate).expect("written");
    assert!(!identity.refresh());
    fs::write(&files.key, &renewed.key).expect("written");
    assert!(identity.refresh());
}

#[test]
fn an_identity_that_cannot_work_says_so_at_the_start() {
    let town = Town::new();
    let error = |files| match Identity::open(files) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("opened"),
    };
    assert!(error(town.files("nobody")).contains("nobody.ca"));
    let stranger = Authority::create("town", 5).expect("an authority");
    let files = town.issue("n1", &stranger, town.authority.certificate());
    assert!(error(files).contains("does not vouch for it"));
    let files = town.issue("n1", &town.authority, town.authority.certificate());
    fs::write(&files.cert, town.authority.certificate()).expect("written");
    assert!(error(files).contains("an authority's, not a node's"));
}
