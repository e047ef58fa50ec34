//! Accounts and rooms for a run, made over HTTP with a bound on how many at once. Several sockets
//! share an account, because a password hash is slow on purpose.

use std::collections::BTreeSet;
use std::io::Write;
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
use crate::load::{Plan, Site};

/// The password of every account that a run registers: they are thrown away with the run's database.
pub(crate) const PASSWORD: &str = "Load-generator-1";

/// An account that is signed in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Account {
    /// Its id.
    pub id: Uuid,
    /// Its access token.
    pub token: String,
}

/// What a run needs before its first socket.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Prepared {
    /// The accounts, one for each that the plan's seats name.
    pub accounts: Vec<Account>,
    /// The rooms.
    pub rooms: Vec<Uuid>,
    /// Who is a member of what: indexes of rooms and accounts.
    pub joined: BTreeSet<(usize, usize)>,
    /// Made for this run: nobody else has written to the rooms.
    #[serde(skip)]
    pub is_new: bool,
}

/// What the site's file holds from an earlier run that has at least what this one needs, or else newly
/// made accounts and rooms, which are then kept there. So a server can be started again between
/// setup and measurement.
///
/// # Errors
/// As [`prepare`], and when the file holds less than is needed or cannot be read or written.
pub async fn prepare_or_take(
    site: &Site,
    server: &Server,
    plan: &Plan,
) -> anyhow::Result<Prepared> {
    let Some(file) = &site.prepared else { return prepare(site, server, plan).await };
    if file.exists() {
        return take(file, plan);
    }
    let prepared = prepare(site, server, plan).await?;
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
    let has = prepared.accounts.len() >= plan.accounts()
        && prepared.rooms.len() >= plan.load.rooms()
        && plan.joins().is_subset(&prepared.joined);
    anyhow::ensure!(
        has,
        "{} was prepared for another shape: it has {} accounts, {} rooms and {} members, and {}, {} \
         and {} are needed, each in its place",
        file.display(),
        prepared.accounts.len(),
        prepared.rooms.len(),
        prepared.joined.len(),
        plan.accounts(),
        plan.load.rooms(),
        plan.joins().len()
    );
    Ok(prepared)
}

/// Makes the accounts, public rooms and memberships of a plan.
///
/// # Errors
/// When the server refuses one of them for good, or for too long.
pub async fn prepare(site: &Site, server: &Server, plan: &Plan) -> anyhow::Result<Prepared> {
    let (wanted, rooms) = (plan.accounts(), plan.load.rooms());
    eprintln!("making {wanted} accounts and {rooms} rooms");
    let run = Uuid::new_v4().simple().to_string();
    let run = &run[..8];
    let http = |index: usize| Http::new(site.from_source(server, index));
    let accounts = accounts(site, server, plan, run).await?;
    let Some(first) = accounts.first().cloned() else { bail!("a run needs an account") };
    let rooms = {
        let make = |index: usize| {
            let http = http(index);
            let (token, name) = (first.token.clone(), format!("load-{run}-{index}"));
            async move { (index, make_room(&http, &token, &name).await) }
        };
        in_order(rooms, limits::SETUP_AT_ONCE, make).await.context("making rooms")?
    };
    let joined = plan.joins();
    // The first account made the rooms and is in them already; an account that is there for several
    // places joins once.
    let mut joins: Vec<(Uuid, Uuid, String)> = Vec::new();
    let mut seen = BTreeSet::new();
    for (room, account) in &joined {
        let (room, account) = (rooms[*room], &accounts[*account]);
        if account.id != first.id && seen.insert((room, account.id)) {
            joins.push((room, account.id, account.token.clone()));
        }
    }
    let join = |index: usize| {
        let http = http(index);
        let (room, _, token) = joins[index].clone();
        async move {
            let joined = patiently(|| http.join(&token, room)).await;
            (index, joined.with_context(|| format!("joining room {room}")))
        }
    };
    in_order(joins.len(), limits::SETUP_AT_ONCE, join).await.context("joining rooms")?;
    Ok(Prepared { accounts, rooms, joined, is_new: true })
}

/// The accounts that exist first, then registered ones. Where registration is closed those that exist
/// are shared, as far as the server allows.
async fn accounts(
    site: &Site,
    server: &Server,
    plan: &Plan,
    run: &str,
) -> anyhow::Result<Vec<Account>> {
    let wanted = plan.accounts();
    let http = |index: usize| Http::new(site.from_source(server, index));
    let known = site.known.len().min(wanted);
    let sign_in = |index: usize| {
        let (http, (name, password)) = (http(index), site.known[index].clone());
        async move { (index, sign_in(&http, &name, &password, None).await) }
    };
    let mut accounts =
        in_order(known, limits::SETUP_AT_ONCE, sign_in).await.context("signing in")?;
    let make = |index: usize| {
        let (http, name) = (http(index), format!("load-{run}-{index}"));
        async move { (index, sign_up(&http, &name).await) }
    };
    match in_order(wanted - known, limits::SETUP_AT_ONCE, make).await {
        Ok(made) => accounts.extend(made),
        Err(error) if is_closed(&error) => {
            let (sockets, may) = (plan.load.sockets(), known * limits::SESSIONS_OF_A_USER_MAX);
            anyhow::ensure!(
                may >= sockets,
                "registration is closed on this server, and {known} accounts may have {may} \
                 sockets where {sockets} are asked for: name more accounts with --accounts FILE, \
                 or ask for fewer sockets"
            );
            accounts = (0..wanted).map(|index| accounts[index % known].clone()).collect();
        }
        Err(error) => {
            return Err(error.context(
                "making accounts (a server that limits registrations for each address wants \
                 auth.register_per_minute=0 and auth.login_per_minute=0, or accounts with --accounts)",
            ));
        }
    }
    Ok(accounts)
}

fn is_closed(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<ClientError>(),
        Some(ClientError::Refused { code, .. }) if code == "forbidden"
    )
}

/// Registers an account and signs in. One whose registration was done although its answer was lost is
/// taken as it is: its name is of this run.
async fn sign_up(http: &Http, name: &str) -> anyhow::Result<Account> {
    let id = match patiently(|| http.register(name, PASSWORD)).await {
        Ok(id) => Some(id),
        Err(ClientError::Refused { code, .. }) if code == "name_taken" => None,
        Err(error) => return Err(error).context("registering"),
    };
    sign_in(http, name, PASSWORD, id).await
}

async fn sign_in(
    http: &Http,
    name: &str,
    password: &str,
    id: Option<Uuid>,
) -> anyhow::Result<Account> {
    let tokens = patiently(|| http.login(name, password)).await.context("signing in")?;
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
