//! Signing keys, as sealed as they arrive.

use parlance_actors::ports::accounts::SigningKey;
use parlance_actors::vocab::Timestamp;

use super::{GLOBAL, SIGNING_LOCK, SqlAccounts};
use crate::sql::{Arg, For, Row};

const KEYS: &str = "SELECT id, sealed, created_at, signs_from, ends_at FROM {g}.signing_key
    WHERE ends_at IS NULL OR ends_at > $1 ORDER BY created_at DESC, id DESC";
const ANY_AFTER: &str = "SELECT 1 FROM {g}.signing_key WHERE created_at > $1 LIMIT 1";
const END_OTHERS: &str = "UPDATE {g}.signing_key SET ends_at = $1 WHERE ends_at IS NULL";
const ADD: &str = "INSERT INTO {g}.signing_key (id, sealed, created_at, signs_from, ends_at)
    VALUES ($1, $2, $3, $4, $5)";

fn read(row: &Row) -> Result<SigningKey, sqlx::Error> {
    Ok(SigningKey {
        id: row.id(0)?,
        sealed: row.bytes(1)?,
        created_at: Timestamp(row.int(2)?),
        signs_from: Timestamp(row.int(3)?),
        ends_at: row.maybe_int(4)?.map(Timestamp),
    })
}

impl SqlAccounts {
    pub(super) async fn read_signing_keys(
        &self,
        now: Timestamp,
    ) -> Result<Vec<SigningKey>, sqlx::Error> {
        let rows = self.global(For::Deciding, KEYS, vec![Arg::Int(now.0)]).await?;
        rows.iter().map(read).collect()
    }

    pub(super) async fn insert_signing_key(
        &self,
        key: SigningKey,
        unless_after: Timestamp,
        others_end_at: Timestamp,
    ) -> Result<Vec<SigningKey>, sqlx::Error> {
        let now = key.created_at;
        let mut transaction = self.db.begin(GLOBAL, For::Writing).await?;
        self.lock(&mut transaction, SIGNING_LOCK, 0).await?;
        let younger = transaction.rows(ANY_AFTER, vec![Arg::Int(unless_after.0)]).await?;
        if younger.is_empty() {
            transaction.rows(END_OTHERS, vec![Arg::Int(others_end_at.0)]).await?;
            let args = vec![
                Arg::Id(key.id),
                Arg::Bytes(key.sealed),
                Arg::Int(key.created_at.0),
                Arg::Int(key.signs_from.0),
                Arg::MaybeInt(key.ends_at.map(|end| end.0)),
            ];
            transaction.rows(ADD, args).await?;
        }
        let rows = transaction.rows(KEYS, vec![Arg::Int(now.0)]).await?;
        let keys = rows.iter().map(read).collect();
        transaction.commit().await?;
        keys
    }
}
