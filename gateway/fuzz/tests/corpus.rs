//! Every input that is kept, through its target; and the seeds, made from the protocol's own examples so
//! that they follow it. `REWRITE_DOCS=1` writes the seeds anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use parlance_gateway_fuzz::{TARGETS, signed};
use parlance_protocol::schema;
use serde_json::{Value, json};

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
fn the_seeds_follow_the_protocol() {
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
    let frames = frames();
    let sockets =
        frames.iter().map(|(name, text)| (name.clone(), [&[40], &*masked(0x81, text)].concat()));
    let mut sockets: Seeds = sockets.collect();
    sockets.extend(odd_sockets());
    BTreeMap::from([
        ("body", bodies()),
        ("frame", frames),
        ("head", heads()),
        ("preamble", preambles()),
        ("socket", sockets),
        ("token", tokens()),
    ])
}

fn frames() -> Seeds {
    let document = schema::client_frames(&mut schema::Schemas::default());
    let mut seeds = Seeds::new();
    for frame in document {
        for (number, example) in frame.examples.iter().enumerate() {
            seeds.insert(format!("{}-{number}", frame.name), example.to_string().into());
        }
    }
    seeds.insert("simple".into(), br#"{"type":"message","content":"hi \ud83d\ude00"}"#.to_vec());
    seeds.insert("deep".into(), [&b"{\"type\":\"ping\",\"id\":"[..], &[b'['; 200]].concat());
    seeds
}

fn bodies() -> Seeds {
    let id = "0198a0c1-5e00-7000-8000-000000000001";
    let bodies = [
        ("credentials", json!({"username": "ada", "password": "Engine-1842"})),
        ("login", json!({"username": "ada", "password": "Engine-1842", "cookie": true})),
        ("refresh", json!({"refresh_token": "n0t-a_secret"})),
        ("create-room", json!({"key": id, "name": "engines", "kind": "private", "topic": "steam"})),
        ("change-room", json!({"key": id, "name": "e", "topic": "", "slow_mode_seconds": 5})),
        ("open-direct", json!({"user": id})),
        ("put-member", json!({"key": id, "role": "moderator"})),
        ("send", json!({"key": id, "body": "h\u{e9}\n", "reply_to": 1, "thread": 2, "enc": true})),
        ("array", json!(["ada", "Engine-1842"])),
    ];
    let mut seeds: Seeds = bodies
        .iter()
        .map(|(name, body): &(_, Value)| ((*name).into(), body.to_string().into()))
        .collect();
    seeds.insert("deep".into(), b"{\"a\":[".repeat(100));
    seeds
}

fn heads() -> Seeds {
    let heads = [
        (
            "forwarded",
            "\x00host: chat.example.org\nx-forwarded-for: 1.1.1.1, [2001:db8::1]:443, 10.2.2.2\nx-forwarded-proto: http, https",
        ),
        (
            "page",
            "\x03host: chat.example.org:443\norigin: https://Chat.example.org\nsec-fetch-site: same-origin\nx-parlance-client: web\ncookie: a=1; __Host-parlance-access=e30.e30.e30; __Host-parlance-refresh=abc",
        ),
        (
            "plain-page",
            "\x02host: localhost:8080\norigin: http://localhost:8080\ncookie: parlance-access=abc\ncookie: parlance-access=xyz",
        ),
        ("listed", "\x01origin: https://app.example.org\nsec-fetch-site: same-site"),
        (
            "bearer",
            "\x02authorization: Bearer  e30.e30.e30 \nidempotency-key: 0198a0c1-5e00-7000-8000-000000000001",
        ),
    ];
    heads.iter().map(|(name, head)| ((*name).into(), head.as_bytes().to_vec())).collect()
}

fn preambles() -> Seeds {
    let header = |command: u8, family: u8, payload: &[u8]| {
        let length = u16::try_from(payload.len()).expect("short").to_be_bytes();
        [&[5][..], b"\r\n\r\n\x00\r\nQUIT\n", &[command, family], &length, payload, b"GET /"]
            .concat()
    };
    let v4 = [203, 0, 113, 5, 10, 0, 0, 1, 0x0f, 0xa0, 0x01, 0xbb];
    let v6 = [&[0x20, 1, 0x0d, 0xb8][..], &[0; 12], &[0; 16], &[0x0f, 0xa0, 0x01, 0xbb]].concat();
    let extra = [&v4[..], &[0x04, 0, 3, 1, 2, 3]].concat();
    let over_tls = [&v4[..], &[0x20, 0, 8, 1, 0, 0, 0, 0, 0x21, 0, 0]].concat();
    Seeds::from([
        ("v4".into(), header(0x21, 0x11, &v4)),
        ("v6".into(), header(0x21, 0x21, &v6)),
        ("with-more".into(), header(0x21, 0x11, &extra)),
        ("over-tls".into(), header(0x21, 0x11, &over_tls)),
        ("local".into(), header(0x20, 0x00, &[])),
        ("version-1".into(), b"\x05PROXY TCP4 203.0.113.5 10.0.0.1 4000 443\r\n".to_vec()),
    ])
}

/// A client's frame (RFC 6455, section 5.2).
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match u8::try_from(payload.len()) {
        Ok(short @ 0..126) => frame.push(0x80 | short),
        _ => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(payload.len()).expect("below 64 KiB").to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn odd_sockets() -> Seeds {
    let fragments =
        [masked(0x01, "h\u{e9}".as_bytes()), masked(0x89, b"?"), masked(0x80, b"!")].concat();
    let cases = [
        ("fragments", fragments),
        ("close", [masked(0x81, b"hi"), masked(0x88, &1000_u16.to_be_bytes())].concat()),
        ("binary", masked(0x82, b"\x00\x01")),
        ("compressed", masked(0xc1, b"\xaa\x56\x4a")),
        ("not-utf-8", [masked(0x81, b"ok"), masked(0x81, b"\xed\xa0\x80")].concat()),
        ("huge", [&[0x81, 0xff][..], &u64::MAX.to_be_bytes(), &[0; 4]].concat()),
        ("pings", [masked(0x89, b"a"), masked(0x8a, b"b"), masked(0x81, b"c")].concat()),
    ];
    cases.into_iter().map(|(name, bytes)| (name.into(), [&[3], &*bytes].concat())).collect()
}

fn tokens() -> Seeds {
    let id = "0198a0c1-5e00-7000-8000-000000000001";
    let header = json!({"typ": "JWT", "alg": "HS256", "kid": id}).to_string();
    let claims = json!({
        "iss": "parlance", "sub": id, "tid": 1, "sid": id, "did": id, "iat": 0, "exp": 32_503_680_000_u64,
    })
    .to_string();
    let odd = json!({
        "iss": ["parlance"], "sub": id, "tid": -1, "sid": id, "aud": "x", "nbf": 1, "exp": 1e300,
    });
    let lines = |header: &str, claims: &str| format!("{header}\n{claims}").into_bytes();
    Seeds::from([
        ("signed".into(), signed(header.as_bytes(), claims.as_bytes()).into()),
        ("parts".into(), lines(&header, &claims)),
        ("odd-claims".into(), lines(&header, &odd.to_string())),
        ("none".into(), lines(r#"{"alg":"none"}"#, &claims)),
        ("hs512".into(), lines(r#"{"alg":"HS512","kid":"x"}"#, &claims)),
    ])
}
