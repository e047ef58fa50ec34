//! Every scenario of the load generator for a second or two against a real node on SQLite: the
//! promises are kept, and the figures that the scenario is about are there. What they are is not
//! looked at: that is for quiet machines.

use std::time::Duration;

use parlance_benches::attack::Kind;
use parlance_benches::load::plan::{Attack, CatchUp, Churn, History, Mixed, Rooms, Storm};
use parlance_benches::load::{self, Load, Plan, Site, Step};
use parlance_benches::report::{Report, html};

mod node;

use node::Node;

fn plan(load: Load, seconds: f64) -> Plan {
    Plan {
        load,
        body_bytes: 64,
        warm_up: Duration::from_millis(300),
        duration: Duration::from_secs_f64(seconds),
        per_account: 16,
        check: true,
        seed: 7,
    }
}

/// Runs it, and holds it to what every scenario owes.
async fn run(site: &Site, load: Load, seconds: f64) -> Report {
    let report =
        Box::pin(load::run(site, &plan(load, seconds))).await.expect("the run takes place");
    println!("{}", report.table());
    let check = report.check.as_ref().expect("it was checked");
    assert_eq!(check.violations, Vec::<String>::new());
    assert!(report.is_good(), "{}", report.table());
    assert_eq!(report.servers.len(), 1);
    assert!(report.servers[0].rss_bytes > 0);
    assert!(!report.series.is_empty(), "it is kept second by second");
    let page = html::page(&report);
    assert!(page.contains("Every promise was kept") && page.contains("<svg"));
    report
}

fn count(report: &Report, step: Step) -> u64 {
    report.step(step).map_or(0, |step| step.latency.count)
}

fn rooms(name: &str, rooms: usize, members: usize, senders: usize, rate: f64) -> Load {
    Load::Rooms(Rooms { name: name.into(), rooms, members, senders, rate })
}

#[tokio::test]
async fn rooms_of_every_kind_hear_all_that_was_sent() {
    let node = Node::start(&[]);
    let fanout = run(&node.site(), rooms("fanout", 4, 5, 5, 80.0), 1.5).await;
    assert!(fanout.deliveries > 100, "{}", fanout.table());
    assert!(fanout.servers[0].cpu_us_per_delivery.is_some());
    assert!(count(&fanout, Step::Delivery) > 100 && count(&fanout, Step::Ack) > 20);
    let big = run(&node.site(), rooms("big-room", 1, 60, 3, 20.0), 1.0).await;
    let looked = big.check.as_ref().expect("it was checked").looked;
    assert_eq!(looked.received, looked.acked * 60);
    let durable = run(&node.site(), rooms("durable", 10, 2, 2, 200.0), 1.0).await;
    assert!(count(&durable, Step::Ack) > 100);
}

#[tokio::test]
async fn idle_sessions_and_visits_have_their_cost() {
    let node = Node::start(&[]);
    let idle = run(&node.site(), Load::Idle { sessions: 40, rooms: 4 }, 1.0).await;
    assert!(idle.fact("memory of a session").is_some());
    assert!(idle.fact("CPU to connect and join").is_some());
    for by_ticket in [true, false] {
        let churn = Churn { rooms: 4, visitors: 16, rate: 40.0, by_ticket, sends: true };
        let churn = run(&node.site(), Load::Churn(churn), 1.0).await;
        assert!(churn.fact("visits").is_some_and(|visits| visits > 0.0), "{}", churn.table());
        assert!(churn.fact("CPU of a visit, parlance").is_some());
        assert_eq!(count(&churn, Step::Ticket) > 0, by_ticket);
        for step in [Step::Upgrade, Step::Welcome, Step::Join, Step::Ack] {
            assert!(count(&churn, step) > 10, "{step:?}\n{}", churn.table());
        }
    }
}

#[tokio::test]
async fn who_drops_comes_back_and_misses_nothing() {
    // Fewer upgrades than there are sessions, so that some are refused and come when they are told.
    let upgrades =
        [("PARLANCE_HTTP__UPGRADES_PER_SECOND", "40"), ("PARLANCE_HTTP__UPGRADES_BURST", "60")];
    let node = Node::start(&upgrades);
    let storm = Storm {
        sessions: 50,
        rooms: 6,
        follows: 3,
        share: 1.0,
        steady: 6,
        rate: 60.0,
        drop_after: Duration::from_millis(500),
        jitter: Duration::from_millis(100),
    };
    let report = run(&node.site(), Load::Storm(storm), 2.5).await;
    assert_eq!(report.fact("sessions back"), Some(50.0), "{}", report.table());
    assert!(report.fact("100 % live after").is_some());
    assert!(report.fact("the others' ack p99 before").is_some());
    assert!(report.fact("the others' ack p99 during").is_some());
    assert!(report.fact("messages replayed").is_some_and(|count| count > 0.0));
}

/// One after the other on one node.
async fn attacked_by(kinds: &[(Kind, usize)]) {
    // Fewer connections than the attacker opens.
    let node = Node::start(&[("PARLANCE_HTTP__MAX_CONNECTIONS_PER_ADDRESS", "40")]);
    for &(kind, connections) in kinds {
        let attack = Attack {
            kind,
            sessions: 6,
            rooms: 3,
            rate: 60.0,
            begins_after: Duration::from_millis(500),
            lasts: Duration::from_secs(1),
            over: Duration::from_millis(200),
            connections,
            // In a second a busy machine may have no processor left for somebody who gives way.
            gives_way: false,
            from: Some([127, 0, 9, 9].into()),
        };
        let report = run(&node.site(), Load::Attack(attack), 2.0).await;
        for when in ["before", "during", "after"] {
            assert!(
                report.fact(&format!("the others' ack p99 {when}")).is_some(),
                "{}",
                report.table()
            );
        }
        let told = report.attack.as_ref().expect("it took place");
        assert!(told.opened > 0, "{told:?}");
        let answers = told.answers.keys().map(String::as_str).collect::<Vec<_>>();
        match kind {
            Kind::Idle => assert!(told.ended > 0 && answers == ["503"], "{told:?}"),
            Kind::LargeJson => assert!(answers.contains(&"413"), "{told:?}"),
            Kind::DeepJson => assert!(answers.contains(&"400"), "{told:?}"),
            Kind::Bomb => assert!(answers.contains(&"415"), "{told:?}"),
            Kind::BadTokens | Kind::Guesses => assert!(answers.contains(&"401"), "{told:?}"),
            Kind::SlowHeaders | Kind::SlowBody | Kind::SlowFrames => {
                assert!(told.written >= connections as u64, "{told:?}");
            }
            Kind::Fragments | Kind::Pings => assert!(told.written > 100, "{told:?}"),
        }
    }
}

#[tokio::test]
async fn who_is_attacked_by_connections_from_elsewhere_has_every_ack() {
    use Kind::{Fragments, Idle, Pings, SlowBody, SlowFrames, SlowHeaders};
    let slow = [(SlowHeaders, 30), (SlowBody, 30), (SlowFrames, 30)];
    attacked_by(&slow).await;
    attacked_by(&[(Idle, 100), (Fragments, 4), (Pings, 4)]).await;
}

#[tokio::test]
async fn who_is_attacked_by_requests_from_elsewhere_has_every_ack() {
    use Kind::{BadTokens, Bomb, DeepJson, Guesses, LargeJson};
    let requests = [LargeJson, DeepJson, Bomb, BadTokens, Guesses];
    attacked_by(&requests.map(|kind| (kind, 4))).await;
}

#[tokio::test]
async fn who_was_away_catches_up_by_replay_and_over_a_gap() {
    let node = Node::start(&[]);
    for (messages, has_gaps) in [(40, false), (230, true)] {
        let catch_up =
            CatchUp { sessions: 20, rooms: 4, follows: 2, messages, over: Duration::ZERO };
        let report = run(&node.site(), Load::CatchUp(catch_up), 20.0).await;
        let replayed = 20.0 * 2.0 * messages as f64;
        assert_eq!(report.fact("messages replayed"), Some(replayed), "{}", report.table());
        assert_eq!(report.counts.gaps > 0, has_gaps);
        assert!(report.fact("CPU of a replayed message, parlance").is_some());
        assert!(report.seconds < 20.0, "it ends when all are back");
    }
}

#[tokio::test]
async fn pages_of_history_are_those_of_the_log() {
    let node = Node::start(&[]);
    let history = History { rooms: 2, length: 120, page: 30, rate: 60.0, connections: 8 };
    let mut site = node.site();
    site.prepared = Some(node.folder().join("prepared"));
    for _ in 0..2 {
        let report = run(&site, Load::History(history.clone()), 1.0).await;
        assert!(count(&report, Step::PageBefore) > 5 && count(&report, Step::PageAfter) > 5);
        assert!(report.fact("CPU of an event in a page, parlance").is_some());
        let looked = report.check.as_ref().expect("it was checked").looked;
        assert!(looked.logged >= 240 && looked.received > 500, "{looked:?}");
    }
}

#[tokio::test]
async fn a_teams_day_has_everything_in_it() {
    let node = Node::start(&[]);
    let mixed = Mixed {
        users: 40,
        rooms: 12,
        everyone: 1,
        follows: 4,
        zipf: 1.0,
        sends_per_minute: 60.0,
        typing_per_minute: 60.0,
        reads_per_minute: 60.0,
        presence_per_minute: 20.0,
        opens_per_minute: 60.0,
    };
    let report = run(&node.site(), Load::Mixed(mixed), 2.0).await;
    for step in [Step::Delivery, Step::Ack, Step::Read, Step::Open] {
        assert!(count(&report, step) > 5, "{step:?}\n{}", report.table());
    }
}

#[tokio::test]
async fn a_run_over_tls_trusts_the_authority_that_it_is_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let identity = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()])
        .expect("a certificate");
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    std::fs::write(&certificate, identity.cert.pem()).expect("written");
    std::fs::write(&key, identity.signing_key.serialize_pem()).expect("written");
    let path = |path: &std::path::Path| path.to_str().expect("a path of this test").to_owned();
    let (certificate_path, key_path) = (path(&certificate), path(&key));
    let node = Node::start(&[
        ("PARLANCE_HTTP__TLS_CERT", certificate_path.as_str()),
        ("PARLANCE_HTTP__TLS_KEY", key_path.as_str()),
    ]);
    let mut site = node.site();
    assert!(site.urls[0].starts_with("https://"), "{:?}", site.urls);
    site.ca = Some(certificate);
    let report = run(&site, rooms("fanout", 2, 3, 3, 30.0), 1.0).await;
    assert!(count(&report, Step::Delivery) > 20);
}

#[tokio::test]
async fn accounts_that_exist_are_enough_where_registration_is_closed() {
    let node = Node::start(&[("PARLANCE_AUTH__REGISTRATION", "false")]);
    let log = node.log();
    let password = log.lines().find_map(|line| line.strip_prefix("password: "));
    let password = password.expect("the first start shows the administrator's password");
    let mut site = node.site();
    site.known = vec![("admin".into(), password.into())];
    // It is one account for what would be two.
    let mut plan = plan(rooms("fanout", 2, 3, 3, 30.0), 1.0);
    plan.per_account = 3;
    let report = Box::pin(load::run(&site, &plan)).await.expect("the run takes place");
    assert!(report.is_good(), "{}", report.table());
    let many = Plan { load: rooms("fanout", 10, 7, 7, 30.0), ..plan };
    let refused = Box::pin(load::run(&site, &many)).await.expect_err("70 sockets of one account");
    assert!(format!("{refused:#}").contains("--accounts FILE"), "{refused:#}");
}
