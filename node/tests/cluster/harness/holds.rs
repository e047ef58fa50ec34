//! Inserts that the database holds in the middle for as long as a test wants: a trigger makes those
//! of the connections that are named in a table wait for a lock that the test has.

use parlance_storage::testkit::PostgresServer;
use sqlx::PgConnection;
use tokio::time::{Duration, sleep};

const POLL: Duration = Duration::from_millis(5);
const PREPARE: &str = "CREATE TABLE public.held (name text);
    CREATE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF EXISTS (SELECT FROM public.held WHERE name = current_setting('application_name')) THEN
        PERFORM pg_advisory_xact_lock_shared(4242);
      END IF;
      RETURN NEW;
    END $$;
    CREATE TRIGGER hold BEFORE INSERT ON main.event FOR EACH ROW EXECUTE FUNCTION public.hold()";
const LOCK: &str = "TRUNCATE public.held; SELECT pg_advisory_lock(4242)";
const UNLOCK: &str = "SELECT pg_advisory_unlock_all()";
/// The lanes of present lives, and of no later ones.
const NAME: &str = "WITH held AS (INSERT INTO public.held SELECT application_name
      FROM pg_stat_activity WHERE application_name LIKE 'parlance/' || $1 || '/lane%' RETURNING 1)
    SELECT count(*) FROM held";
const HELD: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";

/// Holds nothing any more when it is dropped.
pub(crate) struct Holder(PgConnection);

impl Holder {
    /// Prepares a database; once for each.
    pub(crate) async fn prepare(database: &PostgresServer) -> Self {
        let mut holder = Self::again(database).await;
        holder.execute(PREPARE).await;
        holder
    }

    /// For a database that was prepared before it was ended.
    pub(crate) async fn again(database: &PostgresServer) -> Self {
        Self(database.operator().await)
    }

    /// Holds what a node inserts from now on (`%` is any node), until [`Self::let_go`]. Returns when
    /// so many inserts are held.
    pub(crate) async fn hold(&mut self, node: &str, inserts: i64) {
        self.execute(LOCK).await;
        let named = sqlx::query_scalar(NAME).bind(node).fetch_one(&mut self.0).await;
        let lanes: i64 = named.expect(NAME);
        assert!(lanes >= inserts, "the lanes of a node have its name");
        while self.held().await < inserts {
            sleep(POLL).await;
        }
    }

    /// Inserts that are held now.
    pub(crate) async fn held(&mut self) -> i64 {
        sqlx::query_scalar(HELD).fetch_one(&mut self.0).await.expect(HELD)
    }

    pub(crate) async fn let_go(&mut self) {
        self.execute(UNLOCK).await;
    }

    async fn execute(&mut self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&mut self.0).await.expect(sql);
    }
}
