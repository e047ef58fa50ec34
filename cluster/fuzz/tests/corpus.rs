//! Every input that is kept, through its target; and the seeds, which are the golden bytes of the
//! protocols. `REWRITE_DOCS=1` writes the seeds anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use parlance_cluster_fuzz::TARGETS;

/// What all of `corpus/` may take: it is read by every `make test`, and kept for ever.
const CORPUS_BYTES_MAX: u64 = 100 * 1024;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

fn inputs(target: &str) -> Vec<PathBuf> {
    let folder = corpus(target);
    let files =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    files
}

#[test]
fn every_kept_input_passes_its_target() {
    let mut bytes = 0;
    for (name, target) in TARGETS {
        let inputs = inputs(name);
        assert!(!inputs.is_empty(), "{name} has no corpus");
        target(b"");
        for input in inputs {
            let input = fs::read(&input).expect("readable");
            bytes += input.len() as u64;
            target(&input);
        }
    }
    assert!(bytes <= CORPUS_BYTES_MAX, "the corpora take {bytes} bytes");
}

#[test]
fn a_target_is_found_by_every_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    let mut found: Vec<String> = fs::read_dir(folder)
        .expect("a folder")
        .map(|file| {
            file.expect("a file").path().file_stem().expect("a name").to_string_lossy().into()
        })
        .collect();
    found.sort();
    assert_eq!(found, TARGETS.map(|(name, _)| name));
}

#[test]
fn the_seeds_are_the_golden_bytes() {
    let mut stale = Vec::new();
    for (target, seeds) in seeds() {
        for (name, seed) in seeds {
            let file = corpus(target).join(format!("seed-{name}"));
            if std::env::var_os("REWRITE_DOCS").is_some() {
                fs::create_dir_all(corpus(target)).expect("a folder");
                fs::write(&file, &seed).expect("written");
            }
            if fs::read(&file).ok() != Some(seed) {
                stale.push(file);
            }
        }
    }
    assert!(stale.is_empty(), "REWRITE_DOCS=1 makes them anew: {stale:?}");
}

type Seeds = BTreeMap<String, Vec<u8>>;

fn seeds() -> BTreeMap<&'static str, Seeds> {
    BTreeMap::from([
        ("call", calls()),
        ("envelope", envelopes()),
        ("gossip", packets()),
        ("link", streams()),
        ("snapshot", Seeds::from([("empty".into(), vec![0; 12])])),
    ])
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("text"), 16).expect("hex"))
        .collect()
}

fn envelopes() -> Seeds {
    let frames = include_str!("../../../actors/src/wire/golden.txt").lines();
    let frames = frames.filter_map(|line| line.split_once(' '));
    let mut seeds: Seeds = frames.map(|(name, hex)| (name.to_owned(), unhex(hex))).collect();
    let presence = include_str!("../../../actors/src/wire/presence_golden.txt").lines();
    for (number, hex) in presence.enumerate() {
        let frame = unhex(hex);
        let inside = parlance_actors::fuzzing::in_envelope(&frame).to_vec();
        seeds.insert(format!("presence-{number}"), frame);
        seeds.insert(format!("presence-{number}-inside"), inside);
    }
    seeds
}

/// Those of `cluster/src/directory/wire.rs`.
fn calls() -> Seeds {
    let token = "02".repeat(16);
    let asks = [
        ("append", "0005020100010502090001050209".to_owned()),
        ("vote", "010502010105020900".into()),
        ("pre-vote", "020502010000".into()),
        ("transfer", "030502010300".into()),
        ("piece", "040502010905ac02010178".into()),
        ("change", "050707ac0202".into()),
        ("read-index", "06".into()),
        ("renew", "0704010200000000000000000103".into()),
        ("admit", format!("080010{token}016101620163016404")),
        ("return", "0904ac02".into()),
        ("busiest", "0a".into()),
    ];
    let head = "010110".to_owned() + &"01".repeat(16) + "0203";
    let asks = asks.into_iter().map(|(name, ask)| (format!("ask-{name}"), head.clone() + &ask));
    let answers = [
        ("append", "010002".to_owned()),
        ("vote", "01010502010100".into()),
        ("transfer", "010200".into()),
        ("piece", "0103ac02".into()),
        ("installed", "0104050201".into()),
        ("changed", "0105090503".into()),
        ("read-at", "010609".into()),
        ("renewed", "0107010301020000000000000000".into()),
        ("admitted", "01080310".to_owned() + &"01".repeat(16)),
        ("not-leader", "0109010301610162".into()),
        ("failed", "010a0161".into()),
        ("may-return", "010c01".into()),
        ("busiest", format!("010d010110{token}000000000000f03f0000000000000000ac02")),
    ];
    let answers = answers.into_iter().map(|(name, hex)| (format!("answer-{name}"), hex));
    asks.chain(answers).map(|(name, hex)| (name, unhex(&hex))).collect()
}

/// Those of `cluster/src/gossip`, for node 1: what node 5 says, and what others say of it.
fn packets() -> Seeds {
    let head: &[u8] = &[
        1, // version
        5, 128, 208, 149, 255, 188, 49, 2, 0, 10, 0, 0, 5, 149, 60, // node 5, and where it is
        4,  // its incarnation in foca
        1, 1, 0, 0, 10, 0, 0, 1, 149, 60, // node 1, and where it is
    ];
    let node = &head[1..16];
    let saying: &[u8] = &[
        1, 5, 128, 208, 149, 255, 188, 49, 9, 1, 5, 172, 2, 0, 0, 192, 63, 0, 10, 0, 0, 5, 150, 60,
        5, 48, 46, 49, 46, 48,
    ];
    let length = |packet: &[u8]| u16::try_from(packet.len()).expect("short").to_be_bytes();
    let framed = |packets: &[Vec<u8>]| -> Vec<u8> {
        packets.iter().flat_map(|packet| [&length(packet)[..], packet].concat()).collect()
    };
    let said = |message: &[u8]| [head, message].concat();
    let announce = said(&[6]);
    let ping = said(&[0, 9]);
    let indirect = [head, &[2], node, &[7]].concat();
    let member =
        [&[5, 128, 208, 149, 255, 188, 49, 2][..], &[0, 10, 0, 0, 5, 149, 60], &[172, 2, 1]];
    let gossip = [&said(&[8])[..], &[0, 1], &member.concat()].concat();
    let broadcast = [&said(&[9])[..], &[0, 0], &length(saying), saying].concat();
    Seeds::from([
        ("announce".into(), framed(&[announce.clone(), Vec::new(), ping.clone()])),
        ("indirect".into(), framed(&[announce.clone(), indirect, Vec::new(), Vec::new()])),
        ("gossip".into(), framed(&[announce.clone(), gossip, Vec::new(), Vec::new()])),
        ("saying".into(), framed(&[announce, broadcast, ping])),
    ])
}

fn streams() -> Seeds {
    let frames = [&[0, 0, 0, 5][..], b"hello", &[0, 0, 0, 0], &[0, 0, 1, 0], &[7; 256]].concat();
    let hello =
        [&[3, 0x11][..], &[0x11; 15], &300_u64.to_be_bytes(), &7_u64.to_be_bytes()].concat();
    Seeds::from([
        ("frames".into(), [&[3], &*frames].concat()),
        ("too-large".into(), [&[2][..], &[0, 0, 0, 1, 9], &[0, 32, 0, 1]].concat()),
        ("not-whole".into(), [&[200][..], &[0, 31, 255, 255], &[1; 40]].concat()),
        ("stream".into(), [&[9][..], &[3, 0, 0, 0, 0, 0, 0, 1, 2], &[0, 0, 0, 1, 1]].concat()),
        ("hello".into(), [&[1], &*hello].concat()),
        ("onward".into(), b"\x01\x00\x02n2".to_vec()),
    ])
}
