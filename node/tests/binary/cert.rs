//! `parlance cert`: an authority, a node's certificate, and what is said of both.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use crate::support::{folder, run, said};

fn cert(arguments: &[&str]) -> Output {
    run(&[&["cert"], arguments].concat())
}

fn done(arguments: &[&str]) -> String {
    let output = cert(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    said(&output)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn an_authority_signs_nodes_and_nothing_is_overwritten() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let (ca, nodes) = (at("ca"), at("nodes"));
    done(&["ca", "--cluster", "demo", "--out", &ca]);
    done(&["node", "--ca", &ca, "--name", "node-1", "--out", &nodes]);
    assert_eq!(mode(&dir.path().join("ca/ca.key")), 0o600);
    assert_eq!(mode(&dir.path().join("nodes/node-1.key")), 0o600);

    let shown = done(&["show", &at("ca/ca.pem")]);
    assert!(shown.contains("authority of cluster demo"), "{shown}");
    let shown = done(&["show", &at("nodes/node-1.pem"), "--ca", &at("ca/ca.pem")]);
    assert!(shown.contains("node node-1 of cluster demo"), "{shown}");
    assert!(shown.contains("by an authority of the file"), "{shown}");
    assert!(!shown.contains("NOT valid"), "{shown}");

    let before = fs::read(dir.path().join("ca/ca.key")).expect("it is there");
    let again = cert(&["ca", "--cluster", "demo", "--out", &ca]);
    assert_eq!(again.status.code(), Some(6), "{}", said(&again));
    assert!(said(&again).contains("is not overwritten"), "{}", said(&again));
    assert_eq!(fs::read(dir.path().join("ca/ca.key")).expect("it is there"), before);
    // Half of a pair is in the way as much as the whole, and the other half is not made.
    fs::remove_file(dir.path().join("nodes/node-1.key")).expect("it is ours");
    let again = cert(&["node", "--ca", &ca, "--name", "node-1", "--out", &nodes]);
    assert!(said(&again).contains("is not overwritten"), "{}", said(&again));
    assert!(!dir.path().join("nodes/node-1.key").exists());

    let bad = cert(&["node", "--ca", &ca, "--name", "Node 1", "--out", &nodes]);
    assert!(said(&bad).contains("is no name for a node"), "{}", said(&bad));
}

#[test]
fn an_old_and_a_new_authority_in_one_file_count_both_until_the_old_one_goes() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    for which in ["old", "new"] {
        done(&["ca", "--cluster", "demo", "--out", &at(which)]);
        done(&["node", "--ca", &at(which), "--name", which, "--out", &at("nodes")]);
    }
    let text = |name: &str| fs::read_to_string(dir.path().join(name)).expect("it is there");
    fs::write(dir.path().join("both.pem"), text("old/ca.pem") + &text("new/ca.pem")).expect("ours");
    for node in ["nodes/old.pem", "nodes/new.pem"] {
        done(&["show", &at(node), "--ca", &at("both.pem")]);
    }
    let shut_out = cert(&["show", &at("nodes/old.pem"), "--ca", &at("new/ca.pem")]);
    assert_eq!(shut_out.status.code(), Some(6), "{}", said(&shut_out));
    assert!(said(&shut_out).contains("no authority in"), "{}", said(&shut_out));
    let no_certificate = cert(&["show", &at("new/ca.key")]);
    assert!(said(&no_certificate).contains("ca.key: "), "{}", said(&no_certificate));
}
