//! A run of several processes against a real node. This program is the test, and with `work` as its
//! first argument it is one of the processes, so it has a `main` of its own and answers what a test
//! runner asks.

use std::time::Duration;

use parlance_benches::load::plan::{Rooms, Storm};
use parlance_benches::load::{self, CHILD, Load, Plan};
use parlance_benches::report::Report;

#[path = "../loads/node.rs"]
mod node;

use node::Node;

const TEST: &str = "several_processes_are_one_run";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |argument: &str| arguments.iter().any(|given| given == argument);
    if arguments.first().is_some_and(|first| first == CHILD) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let worked = runtime.block_on(Box::pin(load::child()));
        // The thread that reads orders waits for one more.
        runtime.shutdown_timeout(Duration::from_millis(100));
        worked.expect("a process of a run does its work");
    } else if has("--list") {
        if !has("--ignored") {
            println!("{TEST}: test");
        }
    } else if !has("--ignored") {
        several_processes_are_one_run();
        println!("test {TEST} ... ok");
    }
}

fn several_processes_are_one_run() {
    let node = Node::start(&[]);
    let rooms = Rooms { name: "fanout".into(), rooms: 3, members: 7, senders: 7, rate: 60.0 };
    let report = run(&node, Load::Rooms(rooms));
    let looked = report.check.as_ref().expect("it was checked").looked;
    assert_eq!(looked.received, looked.acked * 7, "{}", report.table());
    let storm = Storm {
        sessions: 20,
        rooms: 3,
        follows: 2,
        share: 0.5,
        steady: 4,
        rate: 20.0,
        drop_after: Duration::from_millis(400),
        jitter: Duration::from_millis(100),
    };
    let report = run(&node, Load::Storm(storm));
    assert_eq!(report.fact("sessions back"), Some(10.0), "{}", report.table());
}

fn run(node: &Node, load: Load) -> Report {
    let mut site = node.site();
    site.processes = 3;
    let plan = Plan {
        load,
        body_bytes: 64,
        warm_up: Duration::from_millis(300),
        duration: Duration::from_millis(1_500),
        per_account: 16,
        check: true,
        seed: 7,
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let report = runtime.block_on(Box::pin(load::run(&site, &plan))).expect("the run takes place");
    println!("{}", report.table());
    assert!(report.is_good() && report.processes == 3, "{}", report.table());
    assert_eq!(report.check.as_ref().map(|check| check.violations.len()), Some(0));
    report
}
