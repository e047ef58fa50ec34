//! Counted uses and failures, and the sweep of all that has run out.
//!
//! A window begins with its first use; a row that has ended counts as none, swept or not.

use std::time::Duration;

use parlance_actors::ports::accounts::{Failures, LockoutRule};
use parlance_actors::vocab::Timestamp;

use super::{SqlAccounts, after};
use crate::limits::{SWEEP_BATCHES_MAX, SWEEP_ROWS_MAX};
use crate::sql::{Arg, Db, For};

const USED: &str = "SELECT hits, ends_at FROM {g}.login_limit WHERE subject = $1";
/// $2 now, $3 the end of a window that begins now.
const USE: &str = "INSERT INTO {g}.login_limit AS l (subject, window_at, hits, ends_at)
    VALUES ($1, $2, 1, $3) ON CONFLICT (subject) DO UPDATE SET
      window_at = CASE WHEN l.ends_at <= $2 THEN $2 ELSE l.window_at END,
      hits      = CASE WHEN l.ends_at <= $2 THEN 1 ELSE l.hits + 1 END,
      ends_at   = CASE WHEN l.ends_at <= $2 THEN $3 ELSE l.ends_at END
    RETURNING hits, ends_at";
/// $2 now, $3 how many lock, $4 the end of a rest that begins now; of a first failure: $5 until
/// when it locks, if it does, and $6 its end.
const FAIL: &str = "INSERT INTO {g}.lockout AS l
      (subject, failures, failed_at, locked_until, ends_at)
    VALUES ($1, 1, $2, $5, $6) ON CONFLICT (subject) DO UPDATE SET
      failures     = CASE WHEN l.ends_at <= $2 THEN 1
                          WHEN l.locked_until IS NOT NULL THEN l.failures
                          ELSE l.failures + 1 END,
      failed_at    = CASE WHEN l.ends_at <= $2 THEN $2 ELSE l.failed_at END,
      locked_until = CASE WHEN l.ends_at <= $2 THEN $5
                          WHEN l.locked_until IS NOT NULL THEN l.locked_until
                          WHEN l.failures + 1 >= $3 THEN $4 END,
      ends_at      = CASE WHEN l.ends_at <= $2 THEN $6
                          WHEN l.locked_until IS NOT NULL THEN l.ends_at
                          WHEN l.failures + 1 >= $3 THEN $4
                          ELSE l.ends_at END
    RETURNING failures, locked_until";
const FAILURES: &str =
    "SELECT failures, locked_until FROM {g}.lockout WHERE subject = $1 AND ends_at > $2";
const FORGIVE: &str = "DELETE FROM {g}.lockout WHERE subject = $1";

/// Table, key and end of everything that runs out.
const ENDING: [(&str, &str, &str); 5] = [
    ("ticket", "hash", "expires_at"),
    ("refresh_token", "hash", "expires_at"),
    ("login_limit", "subject", "ends_at"),
    ("lockout", "subject", "ends_at"),
    ("signing_key", "id", "ends_at"),
];

fn wait_until(ends_at: i64, now: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(ends_at.saturating_sub(now.0)).unwrap_or(0))
}

impl SqlAccounts {
    pub(super) async fn count_use(
        &self,
        subject: &str,
        max: u32,
        window: Duration,
        now: Timestamp,
    ) -> Result<Result<(), Duration>, sqlx::Error> {
        // Who is over the limit already costs a read and no commit, so that a flood stays cheap.
        let subject = Arg::Text(subject.to_owned());
        let used = self.global(For::Deciding, USED, vec![subject.clone()]).await?;
        if let Some(row) = used.first() {
            let (hits, ends_at) = (row.int(0)?, row.int(1)?);
            if hits >= i64::from(max) && ends_at > now.0 {
                return Ok(Err(wait_until(ends_at, now)));
            }
        }
        let args = vec![subject, Arg::Int(now.0), Arg::Int(after(now, window))];
        let rows = self.global(For::Writing, USE, args).await?;
        let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        let (hits, ends_at) = (row.int(0)?, row.int(1)?);
        Ok(if hits > i64::from(max) { Err(wait_until(ends_at, now)) } else { Ok(()) })
    }

    pub(super) async fn count_failure(
        &self,
        subject: &str,
        rule: LockoutRule,
        now: Timestamp,
    ) -> Result<Failures, sqlx::Error> {
        let rested = after(now, rule.rest);
        let locks_at_once = (rule.failures <= 1).then_some(rested);
        let args = vec![
            Arg::Text(subject.to_owned()),
            Arg::Int(now.0),
            Arg::Int(rule.failures.into()),
            Arg::Int(rested),
            Arg::MaybeInt(locks_at_once),
            Arg::Int(locks_at_once.unwrap_or_else(|| after(now, rule.window))),
        ];
        let rows = self.global(For::Writing, FAIL, args).await?;
        failures(rows.first().ok_or(sqlx::Error::RowNotFound)?)
    }

    pub(super) async fn read_failures(
        &self,
        subject: &str,
        now: Timestamp,
    ) -> Result<Failures, sqlx::Error> {
        let args = vec![Arg::Text(subject.to_owned()), Arg::Int(now.0)];
        let rows = self.global(For::Deciding, FAILURES, args).await?;
        rows.first().map_or(Ok(Failures { count: 0, locked_until: None }), failures)
    }

    pub(super) async fn forget_failures(&self, subject: &str) -> Result<(), sqlx::Error> {
        self.global(For::Writing, FORGIVE, vec![Arg::Text(subject.to_owned())]).await.map(|_| ())
    }

    /// Deletes in batches, so that no statement holds many locks or SQLite's writer for long.
    /// What is left after the last batch goes with the next sweep.
    pub(super) async fn delete_ended(&self, now: Timestamp) -> Result<u64, sqlx::Error> {
        // Never waits for a row: two sweeps, or a sweep and a revocation, cannot lock each other.
        let skip = match self.db {
            Db::Postgres(_) => "FOR UPDATE SKIP LOCKED",
            Db::Sqlite(_) => "",
        };
        let mut gone = 0;
        for (table, key, end) in ENDING {
            let sql = format!(
                "DELETE FROM {{g}}.{table} WHERE {key} IN (SELECT {key} FROM {{g}}.{table}
                 WHERE {end} <= $1 ORDER BY {end} LIMIT $2 {skip}) RETURNING 1"
            );
            for _ in 0..SWEEP_BATCHES_MAX {
                let args = vec![Arg::Int(now.0), Arg::Int(SWEEP_ROWS_MAX)];
                let batch = self.global(For::Writing, &sql, args).await?.len();
                gone += batch as u64;
                if batch == 0 {
                    break;
                }
            }
        }
        Ok(gone)
    }
}

fn failures(row: &crate::sql::Row) -> Result<Failures, sqlx::Error> {
    Ok(Failures {
        count: u32::try_from(row.int(0)?).unwrap_or(u32::MAX),
        locked_until: row.maybe_int(1)?.map(Timestamp),
    })
}
