//! Accounts and rooms for a run, made over HTTP with a bound on how many at once. Several sockets
//! share an account, because a password hash is slow on purpose.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use parlance_client::{ClientError, Http, Server};
use parlance_protocol::RoomKind;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::limits;
use crate::load::Plan;

/// The password of every account of a run: they are thrown away with the run's database.
const PASSWORD: &str = "Load-generator-1";

/// An account that is signed in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Account {
    /// Its id.
    pub id: Uuid,
    /// Its access token.
    pub token: String,
}

/// What a run needs before its first socket.
#[derive(Debug, Serialize, Deserialize)]
pub struct Prepared {
    /// The accounts.
    pub accounts: Vec<Account>,
    /// The rooms.
    pub rooms: Vec<Uuid>,
    /// The account of each room's members: `members[room][place]` is an index into `accounts`.
    pub members: Vec<Vec<usize>>,
}

/// The server as socket `index` reaches it: from one of `sources` loopback addresses.
#[must_use]
pub fn from_source(server: &Server, sources: u8, index: usize) -> Server {
    let place = u8::try_from(index % usize::from(sources.max(1))).expect("below an u8");
    server.clone().from_source(IpAddr::V4(Ipv4Addr::new(127, 0, 0, place.saturating_add(1))))
}

/// Which account each member of each room is: in turn, so that the members of a room differ as
/// far as there are accounts.
fn places(rooms: usize, members: usize, accounts: usize) -> Vec<Vec<usize>> {
    let account = |room: usize, place: usize| (room * members + place) % accounts;
    (0..rooms).map(|room| (0..members).map(|place| account(room, place)).collect()).collect()
}

/// What `file` holds from an earlier run of the same shape, or else newly made accounts and rooms,
/// which are then kept there. So a server can be started again between setup and measurement.
///
/// # Errors
/// As [`prepare`], and when the file is of another shape or cannot be read or written.
pub async fn prepare_or_take(server: &Server, plan: &Plan) -> anyhow::Result<Prepared> {
    let make = async || {
        eprintln!("making {} accounts and {} rooms", plan.accounts, plan.rooms);
        prepare(server, plan.sources, plan.accounts, plan.rooms, plan.members).await
    };
    let Some(file) = &plan.prepared else { return make().await };
    if file.exists() {
        return take(file, plan);
    }
    let prepared = make().await?;
    let json = serde_json::to_vec(&prepared).context("writing what was prepared")?;
    // It holds access tokens: for its owner alone.
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options
        .open(file)
        .and_then(|mut open| open.write_all(&json))
        .with_context(|| format!("writing {}", file.display()))?;
    Ok(prepared)
}

fn take(file: &Path, plan: &Plan) -> anyhow::Result<Prepared> {
    let json = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let prepared: Prepared = serde_json::from_slice(&json)
        .with_context(|| format!("{} holds no prepared run", file.display()))?;
    let members = prepared.members.first().map_or(0, Vec::len);
    let shape = (prepared.accounts.len(), prepared.rooms.len(), members);
    let asked = (plan.accounts, plan.rooms, plan.members);
    anyhow::ensure!(
        shape == asked,
        "{} is for {shape:?} accounts, rooms and members, and {asked:?} are asked for",
        file.display()
    );
    Ok(prepared)
}

/// Makes `accounts` accounts and `rooms` public rooms with `members` sockets each.
///
/// # Errors
/// When the server refuses one of them for good, or for too long.
pub async fn prepare(
    server: &Server,
    sources: u8,
    accounts: usize,
    rooms: usize,
    members: usize,
) -> anyhow::Result<Prepared> {
    let run = Uuid::new_v4().simple().to_string();
    let run = &run[..8];
    let accounts = {
        let make = |index: usize| {
            let http = Http::new(from_source(server, sources, index));
            let name = format!("load-{run}-{index}");
            async move { (index, sign_up(&http, &name).await) }
        };
        in_order(accounts, limits::SETUP_AT_ONCE, make).await.context("making accounts")?
    };
    let Some(first) = accounts.first().cloned() else { bail!("a run needs an account") };
    let rooms = {
        let make = |index: usize| {
            let http = Http::new(from_source(server, sources, index));
            let (token, name) = (first.token.clone(), format!("load-{run}-{index}"));
            async move { (index, make_room(&http, &token, &name).await) }
        };
        in_order(rooms, limits::SETUP_AT_ONCE, make).await.context("making rooms")?
    };
    let members = places(rooms.len(), members, accounts.len());
    let mut joins = BTreeSet::new();
    for (room, members) in rooms.iter().zip(&members) {
        // The first account made the rooms and is in them already.
        joins.extend(members.iter().filter(|account| **account != 0).map(|a| (*room, *a)));
    }
    let joins: Vec<(Uuid, usize)> = joins.into_iter().collect();
    let join = |index: usize| {
        let http = Http::new(from_source(server, sources, index));
        let (room, account) = joins[index];
        let token = accounts[account].token.clone();
        async move {
            let joined = patiently(|| http.join(&token, room)).await;
            (index, joined.with_context(|| format!("joining room {room}")))
        }
    };
    in_order(joins.len(), limits::SETUP_AT_ONCE, join).await.context("joining rooms")?;
    Ok(Prepared { accounts, rooms, members })
}

async fn sign_up(http: &Http, name: &str) -> anyhow::Result<Account> {
    let id = match patiently(|| http.register(name, PASSWORD)).await {
        Ok(id) => Some(id),
        // A repeat after a lost answer finds its own account.
        Err(ClientError::Refused { code, .. }) if code == "name_taken" => None,
        Err(error) => return Err(error).context("registering"),
    };
    let tokens = patiently(|| http.login(name, PASSWORD)).await.context("signing in")?;
    let token = tokens.access_token.to_string();
    let id = match id {
        Some(id) => id,
        None => http.me(&token).await?.0,
    };
    Ok(Account { id, token })
}

async fn make_room(http: &Http, token: &str, name: &str) -> anyhow::Result<Uuid> {
    let key = Uuid::now_v7();
    let room = patiently(|| http.create_room(token, key, name, RoomKind::Public)).await;
    Ok(room.with_context(|| format!("making room {name}"))?.id)
}

/// Repeats what the server refuses for now.
///
/// # Errors
/// The last refusal.
pub async fn patiently<T, F: Future<Output = Result<T, ClientError>>>(
    mut what: impl FnMut() -> F,
) -> Result<T, ClientError> {
    let mut repeats = 0;
    loop {
        match what().await {
            Err(error) if error.can_repeat() && repeats < limits::SETUP_REPEATS_MAX => {
                repeats += 1;
                let pause = match &error {
                    ClientError::Refused { retry_after: Some(pause), .. } => *pause,
                    _ => Duration::from_millis(250),
                };
                tokio::time::sleep(pause.min(Duration::from_secs(5))).await;
            }
            done => return done,
        }
    }
}

/// Runs `count` jobs, `at_once` of them at the same time, and gives their results by index.
pub(crate) async fn in_order<T, F>(
    count: usize,
    at_once: usize,
    job: impl Fn(usize) -> F,
) -> anyhow::Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = (usize, anyhow::Result<T>)> + Send + 'static,
{
    let mut results: Vec<Option<T>> = (0..count).map(|_| None).collect();
    let mut running = JoinSet::new();
    let mut next = 0;
    loop {
        while next < count && running.len() < at_once {
            running.spawn(job(next));
            next += 1;
        }
        let Some(done) = running.join_next().await else { break };
        let (index, result) = done.context("a setup job ended by itself")?;
        results[index] = Some(result?);
    }
    Ok(results.into_iter().map(|result| result.expect("every job has run")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_of_a_room_are_different_accounts_while_there_are_enough() {
        for room in places(100, 10, 32) {
            assert_eq!(room.iter().collect::<BTreeSet<_>>().len(), 10);
        }
        assert_eq!(places(1, 4, 2), [[0, 1, 0, 1]]);
    }

    #[tokio::test]
    async fn results_come_in_the_order_of_their_jobs() {
        let job = |index: usize| async move {
            if index.is_multiple_of(2) {
                tokio::task::yield_now().await;
            }
            (index, anyhow::Ok(index * 10))
        };
        let results = in_order(40, 8, job).await.expect("no job fails");
        assert_eq!(results, (0..40).map(|index| index * 10).collect::<Vec<_>>());
    }
}
