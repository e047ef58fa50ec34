//! Reads the logs that a server holds in the end, for the checker.

use std::collections::BTreeMap;

use anyhow::Context;
use parlance_client::Http;
use parlance_protocol::View;
use uuid::Uuid;

use crate::checker::Logged;
use crate::setup::patiently;

/// A room's whole log, page by page.
///
/// # Errors
/// When a page cannot be read.
pub async fn log(http: &Http, token: &str, room: Uuid) -> anyhow::Result<Vec<Logged>> {
    let mut log: Vec<Logged> = Vec::new();
    loop {
        let after = log.last().map_or(0, |logged| logged.entry.seq);
        let page = patiently(|| http.history_after(token, room, after, View::Log))
            .await
            .with_context(|| format!("reading the log of {room} after {after}"))?;
        log.extend(page.messages.iter().map(|entry| Logged::from(&entry.event)));
        if !page.more || page.messages.is_empty() {
            return Ok(log);
        }
    }
}

/// The logs of several rooms, one after the other; `token` says with whose eyes each is read.
///
/// # Errors
/// When a page cannot be read.
pub async fn logs<'a>(
    http: &Http,
    rooms: impl IntoIterator<Item = (Uuid, &'a str)>,
) -> anyhow::Result<BTreeMap<Uuid, Vec<Logged>>> {
    let mut logs = BTreeMap::new();
    for (room, token) in rooms {
        logs.insert(room, log(http, token, room).await?);
    }
    Ok(logs)
}
