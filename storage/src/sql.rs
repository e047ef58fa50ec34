//! One way to run a statement on either database: arguments in, rows out, and transactions that
//! never go back to their pool half done.
//!
//! The lanes do not use this; their statements are each database's own.

use parlance_actors::vocab::TenantId;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Postgres, Row as _, Sqlite};
use uuid::Uuid;

use crate::limits;
use crate::postgres::PostgresDb;
use crate::schema::Schema;
use crate::sqlite::SqliteDb;

type PgQuery<'q> = Query<'q, Postgres, PgArguments>;
type LiteQuery<'q> = Query<'q, Sqlite, SqliteArguments>;

/// A bound argument. Its variant is the column's type, which PostgreSQL insists on.
#[derive(Debug, Clone)]
pub(crate) enum Arg {
    /// `smallint`
    Small(i16),
    /// `bigint`
    Int(i64),
    /// `uuid`
    Id(Uuid),
    /// `integer`
    Whole(i32),
    /// `boolean`
    Flag(bool),
    /// `text`
    Text(String),
    /// `bytea`
    Bytes(Vec<u8>),
    /// `bigint` or null
    MaybeInt(Option<i64>),
    /// `uuid` or null
    MaybeId(Option<Uuid>),
    /// `text` or null
    MaybeText(Option<String>),
}

impl Arg {
    fn bind_postgres(self, query: PgQuery<'_>) -> PgQuery<'_> {
        match self {
            Self::Small(value) => query.bind(value),
            Self::Int(value) => query.bind(value),
            Self::Id(value) => query.bind(value),
            Self::Whole(value) => query.bind(value),
            Self::Flag(value) => query.bind(value),
            Self::Text(value) => query.bind(value),
            Self::Bytes(value) => query.bind(value),
            Self::MaybeInt(value) => query.bind(value),
            Self::MaybeId(value) => query.bind(value),
            Self::MaybeText(value) => query.bind(value),
        }
    }

    fn bind_sqlite(self, query: LiteQuery<'_>) -> LiteQuery<'_> {
        match self {
            Self::Small(value) => query.bind(value),
            Self::Int(value) => query.bind(value),
            Self::Id(value) => query.bind(value),
            Self::Whole(value) => query.bind(value),
            Self::Flag(value) => query.bind(value),
            Self::Text(value) => query.bind(value),
            Self::Bytes(value) => query.bind(value),
            Self::MaybeInt(value) => query.bind(value),
            Self::MaybeId(value) => query.bind(value),
            Self::MaybeText(value) => query.bind(value),
        }
    }
}

/// A row of either database; columns by place.
#[derive(Debug)]
pub(crate) enum Row {
    /// From PostgreSQL.
    Postgres(PgRow),
    /// From SQLite.
    Sqlite(SqliteRow),
}

impl Row {
    pub(crate) fn int(&self, place: usize) -> Result<i64, sqlx::Error> {
        match self {
            Self::Postgres(row) => row.try_get(place),
            Self::Sqlite(row) => row.try_get(place),
        }
    }

    pub(crate) fn maybe_int(&self, place: usize) -> Result<Option<i64>, sqlx::Error> {
        match self {
            Self::Postgres(row) => row.try_get(place),
            Self::Sqlite(row) => row.try_get(place),
        }
    }

    pub(crate) fn small(&self, place: usize) -> Result<i16, sqlx::Error> {
        match self {
            Self::Postgres(row) => row.try_get(place),
            Self::Sqlite(row) => row.try_get(place),
        }
    }

    pub(crate) fn maybe_small(&self, place: usize) -> Result<Option<i16>, sqlx::Error> {
        match self {
            Self::Postgres(row) => row.try_get(place),
            Self::Sqlite(row) => row.try_get(place),
        }
    }

    pub(crate) fn whole(&self, place: usize) -> Result<i32, sqlx::Error> {
        match self {
            Self::Postgres(row) => row.try_get(place),
            Self::Sqlite(row) => row.try_get(place),
        }
    }

    pub(crate) fn maybe_whole(&self, place: usize) -> Result<Option<i32>, sqlx::Error> {
        match self {
            Self::Postgres(row) => row.try_get(place),
            Self::Sqlite(row) => row.try_get(place),
        }
    }

    pub(crate) fn flag(&self, place: usize) -> Result<bool, sqlx::Error> {
        match self {
            Self::Postgres(row) => row.try_get(place),
            Self::Sqlite(row) => row.try_get(place),
        }
    }

    pub(crate) fn id(&self, place: usize) -> Result<Uuid, sqlx::Error> {
        match self {
            Self::Postgres(row) => row.try_get(place),
            Self::Sqlite(row) => row.try_get(place),
        }
    }

    pub(crate) fn maybe_id(&self, place: usize) -> Result<Option<Uuid>, sqlx::Error> {
        match self {
            Self::Postgres(row) => row.try_get(place),
            Self::Sqlite(row) => row.try_get(place),
        }
    }

    pub(crate) fn text(&self, place: usize) -> Result<String, sqlx::Error> {
        match self {
            Self::Postgres(row) => row.try_get(place),
            Self::Sqlite(row) => row.try_get(place),
        }
    }

    pub(crate) fn maybe_text(&self, place: usize) -> Result<Option<String>, sqlx::Error> {
        match self {
            Self::Postgres(row) => row.try_get(place),
            Self::Sqlite(row) => row.try_get(place),
        }
    }

    pub(crate) fn bytes(&self, place: usize) -> Result<Vec<u8>, sqlx::Error> {
        match self {
            Self::Postgres(row) => row.try_get(place),
            Self::Sqlite(row) => row.try_get(place),
        }
    }

    pub(crate) fn maybe_bytes(&self, place: usize) -> Result<Option<Vec<u8>>, sqlx::Error> {
        match self {
            Self::Postgres(row) => row.try_get(place),
            Self::Sqlite(row) => row.try_get(place),
        }
    }
}

/// Either database.
#[derive(Debug, Clone)]
pub(crate) enum Db {
    /// A PostgreSQL server.
    Postgres(PostgresDb),
    /// A folder of SQLite files.
    Sqlite(SqliteDb),
}

/// What a statement or transaction is for, which decides where it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    /// A read that may go through a pooler.
    Reading,
    /// A read that must see everything committed before it began.
    Deciding,
    /// A change.
    Writing,
    /// A read through very much, which an operator waits for: it may take its time.
    Scanning,
}

impl Db {
    /// One statement by itself.
    pub(crate) async fn rows(
        &self,
        tenant: TenantId,
        purpose: For,
        sql: &str,
        args: Vec<Arg>,
    ) -> Result<Vec<Row>, sqlx::Error> {
        match self {
            Self::Postgres(db) => {
                let schema = db.schemas.of(tenant)?;
                let mut alone = Alone(Some(db.primary.acquire().await?));
                let connection = alone.0.as_mut().expect("held until it is done");
                let query = postgres_query(schema, sql, args);
                let rows = match purpose {
                    For::Scanning => query.fetch_all(&mut **connection).await?,
                    _ => in_time(query.fetch_all(&mut **connection)).await?,
                };
                // Answered: the connection goes back to its pool.
                alone.0 = None;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
            Self::Sqlite(db) => {
                let file = db.file(tenant)?;
                let pool = if purpose == For::Writing { &file.writer } else { &file.readers };
                let rows = sqlite_query(&file.schema, sql, args).fetch_all(pool).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
        }
    }

    /// Begins a transaction: a snapshot for reading, or one that may write.
    pub(crate) async fn begin(
        &self,
        tenant: TenantId,
        purpose: For,
    ) -> Result<Transaction, sqlx::Error> {
        let mut transaction = match self {
            Self::Postgres(db) => {
                let schema = db.schemas.of(tenant)?.clone();
                let pool = if purpose == For::Reading { &db.readers } else { &db.primary };
                Transaction { open: Some(Open::Postgres(pool.acquire().await?)), schema }
            }
            Self::Sqlite(db) => {
                let file = db.file(tenant)?;
                let pool = if purpose == For::Writing { &file.writer } else { &file.readers };
                let schema = file.schema.clone();
                Transaction { open: Some(Open::Sqlite(pool.acquire().await?)), schema }
            }
        };
        transaction.start(purpose).await?;
        Ok(transaction)
    }
}

fn postgres_query<'q>(schema: &Schema, sql: &str, args: Vec<Arg>) -> PgQuery<'q> {
    args.into_iter().fold(sqlx::query(schema.sql(sql)), |query, arg| arg.bind_postgres(query))
}

fn sqlite_query<'q>(schema: &Schema, sql: &str, args: Vec<Arg>) -> LiteQuery<'q> {
    args.into_iter().fold(sqlx::query(schema.sql(sql)), |query, arg| arg.bind_sqlite(query))
}

/// The connection of one statement by itself. Dropped before its answer, it is closed: whatever
/// comes from it now is nobody's.
struct Alone(Option<PoolConnection<Postgres>>);

impl Drop for Alone {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.0 {
            connection.close_on_drop();
        }
    }
}

/// A statement's answer. A server that is cut off says nothing and closes nothing, and its
/// connection would be waited for for ever.
async fn in_time<T>(
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    match tokio::time::timeout(limits::STATEMENT_WAIT, statement).await {
        Ok(result) => result,
        Err(_) => {
            let why = "no answer from the database in time";
            Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, why)))
        }
    }
}

#[derive(Debug)]
enum Open {
    Postgres(PoolConnection<Postgres>),
    Sqlite(PoolConnection<Sqlite>),
}

/// An open transaction. Dropped before its end, a cancelled caller's for one, it takes its
/// connection with it: sqlx would put it back into the pool with the transaction still open.
#[derive(Debug)]
pub(crate) struct Transaction {
    open: Option<Open>,
    schema: Schema,
}

impl Transaction {
    async fn start(&mut self, purpose: For) -> Result<(), sqlx::Error> {
        match self.open.as_mut().expect("open until it ends") {
            Open::Postgres(connection) => {
                let begin = match purpose {
                    // Whatever the server's default is: after a lock, the next statement must see
                    // what its last holder committed.
                    For::Writing => "BEGIN ISOLATION LEVEL READ COMMITTED",
                    _ => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                };
                in_time(sqlx::raw_sql(begin).execute(&mut **connection)).await?;
            }
            Open::Sqlite(connection) => {
                let begin = if purpose == For::Writing { "BEGIN IMMEDIATE" } else { "BEGIN" };
                sqlx::raw_sql(begin).execute(&mut **connection).await?;
            }
        }
        Ok(())
    }

    /// Runs a statement, unnamed on PostgreSQL, so that a pooler may sit between.
    pub(crate) async fn rows(
        &mut self,
        sql: &str,
        args: Vec<Arg>,
    ) -> Result<Vec<Row>, sqlx::Error> {
        match self.open.as_mut().expect("open until it ends") {
            Open::Postgres(connection) => {
                let query = postgres_query(&self.schema, sql, args).persistent(false);
                let rows = in_time(query.fetch_all(&mut **connection)).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
            Open::Sqlite(connection) => {
                let query = sqlite_query(&self.schema, sql, args);
                let rows = query.fetch_all(&mut **connection).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
        }
    }

    /// Ends the transaction and gives the connection back.
    pub(crate) async fn commit(mut self) -> Result<(), sqlx::Error> {
        match self.open.as_mut().expect("open until it ends") {
            Open::Postgres(connection) => {
                in_time(sqlx::raw_sql("COMMIT").execute(&mut **connection)).await?;
            }
            Open::Sqlite(connection) => {
                sqlx::raw_sql("COMMIT").execute(&mut **connection).await?;
            }
        }
        self.open = None;
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        match &mut self.open {
            Some(Open::Postgres(connection)) => connection.close_on_drop(),
            Some(Open::Sqlite(connection)) => connection.close_on_drop(),
            None => {}
        }
    }
}
