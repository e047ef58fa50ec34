//! Which servers may be the primary, and the way to the one that is. A URL may name several, as
//! libpq's do (`host1:5432,host2:5432` or `?host=/a,/b`): they are asked at once, and of those that
//! take writes the one on the highest timeline wins, so that a primary that was deposed and does
//! not know it yet loses against its successor.

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use parlance_actors::ports::history::DatabaseId;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool};
use tokio::time::Instant;

use crate::error::{StorageError, redacted};
use crate::limits;

/// The timeline that the server writes on now. A checkpoint's would be late after a promotion.
const TIMELINE: &str =
    "('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint";
const STATE: &str = "SELECT current_setting('server_version_num')::integer, pg_is_in_recovery(),
    has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE'), current_user::text";
const SYSTEM: &str = "(SELECT system_identifier FROM pg_catalog.pg_control_system())";

/// The servers of one URL.
#[derive(Debug)]
pub(crate) struct Servers {
    servers: Vec<PgConnectOptions>,
    /// Which of them was the primary last.
    primary: AtomicUsize,
    seen: Arc<Seen>,
    /// Connects to the primary of the moment.
    pool: OnceLock<PgPool>,
}

/// What the servers were seen to be. Apart from them because the pool, which they hold, asks too.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Whether the role may read the system's identifier.
    knows_system: AtomicBool,
    latest: Mutex<Latest>,
}

#[derive(Debug, Default)]
struct Latest {
    database: Option<DatabaseId>,
    /// When it took the place of another one.
    since: Option<Instant>,
    /// How often one did.
    changes: u64,
}

impl Latest {
    fn is_after(&self, database: DatabaseId) -> bool {
        self.database.is_some_and(|latest| {
            latest.system == database.system && latest.timeline > database.timeline
        })
    }
}

/// A connection to the primary, and what it is.
#[derive(Debug)]
pub(crate) struct Primary {
    pub(crate) connection: PgConnection,
    pub(crate) database: DatabaseId,
    /// As `server_version_num`.
    pub(crate) version: i32,
    knows_system: bool,
    /// For [`Servers::is_present`].
    pub(crate) changes: u64,
}

impl Servers {
    pub(crate) fn new(url: &str) -> Result<Self, StorageError> {
        let bad =
            |why: String| StorageError::Config(format!("database URL {}: {why}", redacted(url)));
        let urls = split(url).map_err(bad)?;
        let servers: Result<Vec<_>, _> = urls
            .iter()
            .map(|url| PgConnectOptions::from_str(url).map_err(|error| bad(error.to_string())))
            .collect();
        Ok(Self {
            servers: servers?,
            primary: AtomicUsize::new(0),
            seen: Arc::new(Seen { knows_system: AtomicBool::new(true), latest: Mutex::default() }),
            pool: OnceLock::new(),
        })
    }

    pub(crate) fn seen(&self) -> Arc<Seen> {
        self.seen.clone()
    }

    /// How to reach the primary of the moment, as far as is known.
    pub(crate) fn options(&self) -> PgConnectOptions {
        self.servers[self.primary.load(Ordering::Acquire)].clone()
    }

    /// From now on the pool's new connections follow the primary that [`Self::connect`] finds.
    pub(crate) fn lead(&self, pool: PgPool) {
        // A second pool would be a mistake of this crate; the first one stays.
        let _ = self.pool.set(pool);
    }

    /// Two expressions, the system and the timeline, for a statement on the primary.
    pub(crate) fn identity(&self) -> String {
        self.seen.identity()
    }

    /// A connection to the primary, its options completed by `dress`.
    pub(crate) async fn connect(
        &self,
        dress: impl Fn(PgConnectOptions) -> PgConnectOptions,
    ) -> Result<Primary, sqlx::Error> {
        let ask = |(place, options): (usize, &PgConnectOptions)| {
            let options = dress(options.clone());
            async move { (place, primary(options).await) }
        };
        let mut asked: FuturesUnordered<_> = self.servers.iter().enumerate().map(ask).collect();
        let mut deadline = Instant::now() + limits::CONNECT_WAIT;
        let (mut best, mut why) = (None::<(usize, Primary)>, Vec::new());
        loop {
            match tokio::time::timeout_at(deadline, asked.next()).await {
                Ok(Some((_, Ok(found)))) if self.seen.is_former(found.database) => {
                    why.push(former(found.database));
                }
                Ok(Some((place, Ok(found)))) => {
                    deadline = deadline.min(Instant::now() + limits::OTHER_PRIMARY_WAIT);
                    let timeline = best.as_ref().map(|(_, best)| best.database.timeline);
                    if timeline.is_none_or(|timeline| timeline < found.database.timeline) {
                        best = Some((place, found));
                    }
                }
                Ok(Some((_, Err(error)))) => why.push(error.to_string()),
                Ok(None) => break,
                Err(_) => {
                    why.push(format!("no answer in {:?}", limits::CONNECT_WAIT));
                    break;
                }
            }
        }
        let Some((place, mut found)) = best else {
            return Err(sqlx::Error::Protocol(why.join("; ")));
        };
        // Another lane may have found a later one while this call waited for the others.
        let changes = self.seen.found(found.database, || {
            self.seen.knows_system.store(found.knows_system, Ordering::Release);
            self.lead_to(place);
        });
        found.changes = changes.ok_or_else(|| sqlx::Error::Protocol(former(found.database)))?;
        Ok(found)
    }

    /// Whether no other database took the place of the one that [`Self::connect`] found with this
    /// many changes.
    pub(crate) fn is_present(&self, changes: u64) -> bool {
        self.seen.latest.lock().changes == changes
    }

    fn lead_to(&self, place: usize) {
        if self.primary.swap(place, Ordering::AcqRel) != place
            && let Some(pool) = self.pool.get()
        {
            let name = pool.connect_options().get_application_name().map(str::to_owned);
            let options = self.servers[place].clone();
            pool.set_connect_options(match name {
                Some(name) => options.application_name(&name),
                None => options,
            });
        }
    }
}

impl Seen {
    fn identity(&self) -> String {
        let system = if self.knows_system.load(Ordering::Acquire) { SYSTEM } else { "0::bigint" };
        format!("{system}, {TIMELINE}")
    }

    /// A primary whose standby was promoted while it could not be reached goes on taking writes if
    /// nobody stops it, and alone among the servers it would be believed.
    fn is_former(&self, database: DatabaseId) -> bool {
        self.latest.lock().is_after(database)
    }

    /// A later timeline of the same system. What a read finds of another system proves nothing.
    fn is_successor(&self, database: DatabaseId) -> bool {
        self.latest.lock().database.is_some_and(|known| {
            known.system == database.system && known.timeline < database.timeline
        })
    }

    /// Takes this primary for the present one, and leads to it, unless a later one was seen: both
    /// or neither, so that a slow connect cannot lead back. Gives the changes until then.
    fn found(&self, database: DatabaseId, lead: impl FnOnce()) -> Option<u64> {
        let mut latest = self.latest.lock();
        if latest.is_after(database) {
            return None;
        }
        if latest.database.is_some_and(|known| known != database) {
            latest.since = Some(Instant::now());
            latest.changes += 1;
        }
        latest.database = Some(database);
        lead();
        Some(latest.changes)
    }

    /// Whether a connection of this age was made to the primary of the moment: the former one may
    /// live on, and answer what is no longer true.
    pub(crate) fn is_present(&self, age: Duration) -> bool {
        self.latest.lock().since.is_none_or(|since| age < since.elapsed())
    }

    /// Refuses a connection to a standby or to a former primary. One to a successor of the primary
    /// is the news of it: behind an address that moves, the lanes' own connections may stay.
    pub(crate) async fn admit(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let sql = "SELECT pg_is_in_recovery()";
        let standby: bool = sqlx::query_scalar(sql).fetch_one(&mut *connection).await?;
        if standby {
            return Err(sqlx::Error::Protocol("the server is a standby".to_owned()));
        }
        let sql = sqlx::AssertSqlSafe(format!("SELECT {}", self.identity()));
        let (system, timeline): (i64, i64) = sqlx::query_as(sql).fetch_one(connection).await?;
        let database = database_id(system, timeline);
        if self.is_former(database) {
            return Err(sqlx::Error::Protocol(former(database)));
        }
        if self.is_successor(database) {
            // One that was found since is later still, and this one is then left at its next use.
            let _ = self.found(database, || {});
        }
        Ok(())
    }
}

fn former(DatabaseId { timeline, .. }: DatabaseId) -> String {
    format!(
        "the server is a former primary: it is on timeline {timeline}, and a later one was seen; \
         if it was put back on purpose, start the node again"
    )
}

/// A connection to this server if it is a primary.
async fn primary(options: PgConnectOptions) -> Result<Primary, sqlx::Error> {
    let mut connection = options.connect().await?;
    let (version, standby, knows_system, role): (i32, bool, bool, String) =
        sqlx::query_as(STATE).fetch_one(&mut connection).await?;
    if standby {
        let why = "the server is a standby; name the primary".to_owned();
        return Err(sqlx::Error::Protocol(why));
    }
    let system = if knows_system { SYSTEM } else { "0::bigint" };
    if !knows_system {
        tracing::warn!(
            "a change of the database's system cannot be noticed, only one of its timeline: \
             GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system() TO \"{role}\""
        );
    }
    let sql = sqlx::AssertSqlSafe(format!("SELECT {system}, {TIMELINE}"));
    let (system, timeline): (i64, i64) = sqlx::query_as(sql).fetch_one(&mut connection).await?;
    let database = database_id(system, timeline);
    Ok(Primary { connection, database, version, knows_system, changes: 0 })
}

/// The two columns of [`Servers::identity`].
pub(crate) fn database_id(system: i64, timeline: i64) -> DatabaseId {
    let system = u64::from_ne_bytes(system.to_ne_bytes());
    DatabaseId { system, timeline: u32::try_from(timeline).unwrap_or_default() }
}

/// One URL for each server that a URL names.
fn split(url: &str) -> Result<Vec<String>, String> {
    let (main, query) = url.split_once('?').map_or((url, ""), |(main, query)| (main, query));
    let (scheme, rest) = main.split_once("://").ok_or("it lacks ://")?;
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(a, path)| (a, path));
    let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(u, hosts)| (u, hosts));
    let mut hosts: Vec<&str> = hosts.split(',').collect();
    let (mut places, mut ports, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("host", value)) => places = list(value),
            Some(("port", value)) => ports = list(value),
            Some(("target_session_attrs", "read-write" | "primary" | "any")) => {}
            Some(("target_session_attrs", _)) => {
                return Err("target_session_attrs can only be read-write or primary".to_owned());
            }
            _ => kept.push(pair),
        }
    }
    let count = hosts.len().max(places.len()).max(ports.len());
    if count > limits::SERVERS_MAX {
        return Err(format!("{count} servers; allowed are up to {}", limits::SERVERS_MAX));
    }
    if hosts.len() == 1 {
        hosts = vec![hosts[0]; count];
    }
    let fits = |n: usize| n <= 1 || n == count;
    if hosts.len() != count || !fits(places.len()) || !fits(ports.len()) {
        return Err("the lists of hosts and ports differ in length".to_owned());
    }
    let at = if user.is_empty() { "" } else { "@" };
    let one = |place: usize| {
        let mut pairs: Vec<String> = kept.iter().map(|pair| (*pair).to_owned()).collect();
        let of = |list: &[String]| list.get(place).or(list.first()).cloned();
        pairs.extend(of(&places).map(|host| format!("host={host}")));
        pairs.extend(of(&ports).map(|port| format!("port={port}")));
        let mark = if pairs.is_empty() { "" } else { "?" };
        format!("{scheme}://{user}{at}{}/{path}{mark}{}", hosts[place], pairs.join("&"))
    };
    Ok((0..count).map(one).collect())
}

/// The parts of a list, whose commas may be escaped.
fn list(value: &str) -> Vec<String> {
    value.replace("%2C", ",").replace("%2c", ",").split(',').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_url_may_name_several_servers() {
        let one = "postgres://ann:a,b@db:5433/chat?sslmode=require";
        assert_eq!(split(one), Ok(vec![one.to_owned()]));
        assert_eq!(
            split("postgres://ann:pw@a:1,b:2/chat?target_session_attrs=read-write&sslmode=require"),
            Ok(vec![
                "postgres://ann:pw@a:1/chat?sslmode=require".to_owned(),
                "postgres://ann:pw@b:2/chat?sslmode=require".to_owned(),
            ])
        );
        assert_eq!(
            split("postgres://ann@localhost/chat?host=/a,/b"),
            Ok(vec![
                "postgres://ann@localhost/chat?host=/a".to_owned(),
                "postgres://ann@localhost/chat?host=/b".to_owned(),
            ])
        );
        assert!(split("postgres://a,b/chat?port=1,2,3").is_err());
        assert!(split("postgres://a,b,c,d,e/chat").is_err());
        assert!(split("postgres://a,b/chat?target_session_attrs=standby").is_err());
    }
}
