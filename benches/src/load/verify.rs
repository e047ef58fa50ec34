//! Compares what all processes sent and received with the logs that the server holds in the end.

use parlance_client::{Http, Server};

use super::crew::Partial;
use super::plan::Plan;
use crate::checker::{Run, Sent};
use crate::report::Check;
use crate::setup::Prepared;
use crate::witness;

/// Reads the logs and checks.
pub(super) async fn check(
    server: &Server,
    plan: &Plan,
    prepared: &Prepared,
    filled: Vec<Sent>,
    partials: Vec<Partial>,
) -> anyhow::Result<Check> {
    let rooms = &prepared.rooms[..plan.load.rooms()];
    eprintln!("reading {} logs and checking", rooms.len());
    let http = Http::new(server.clone());
    let eyes: std::collections::BTreeMap<usize, usize> = prepared.joined.iter().copied().collect();
    let eyes = eyes.iter().filter(|(room, _)| **room < rooms.len());
    let eyes = eyes
        .map(|(room, account)| (prepared.rooms[*room], prepared.accounts[*account].token.as_str()));
    let logs = witness::logs(&http, eyes).await?;
    // Rooms that were kept from an earlier run hold its messages too.
    let mut run = Run { logs, sent: filled, exclusive: prepared.is_new, ..Run::default() };
    for outcome in partials.into_iter().flat_map(|partial| partial.outcomes) {
        run.sent.extend(outcome.sent);
        run.streams.extend(outcome.streams);
    }
    let (looked, violations) = run.check();
    Ok(Check { looked, violations: violations.iter().map(ToString::to_string).collect() })
}
