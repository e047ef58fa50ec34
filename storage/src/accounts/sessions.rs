//! Refresh tokens and their families, and one-time socket tickets.
//!
//! A spent token stays until it runs out, so that its reuse is noticed. Revoking deletes: a
//! revoked token is like one that never was.
//!
//! `spent_at` of at most one token of a family is above 0: of the one that the live token follows.
//! All others that may not be shown any more have 0. The release before knew no 0, so a family
//! that it rotated can have several above; none of those may be shown again.

use parlance_actors::ports::accounts::{
    RefreshToken, Rotation, SecretHash, Ticket, may_be_shown_again,
};
use parlance_actors::vocab::{DeviceId, TenantId, Timestamp, UserId};
use uuid::Uuid;

use super::{GLOBAL, SqlAccounts, hash, tenant_arg};
use crate::sql::{Arg, For, Row, Transaction};

const STORE: &str = r#"INSERT INTO {g}.refresh_token
    (hash, family, tenant, "user", device, expires_at) VALUES ($1, $2, $3, $4, $5, $6)"#;
const OWNER: &str = r#"SELECT "user" FROM {g}.refresh_token WHERE hash = $1 AND expires_at > $2"#;
const SPEND: &str = r#"UPDATE {g}.refresh_token SET spent_at = $2
    WHERE hash = $1 AND spent_at IS NULL RETURNING family, tenant, "user", device"#;
const SETTLE: &str = "UPDATE {g}.refresh_token SET spent_at = 0
    WHERE tenant = $1 AND family = $2 AND spent_at > 0 AND hash <> $3";
const SPENT: &str = r#"SELECT family, tenant, "user", device, spent_at
    FROM {g}.refresh_token WHERE hash = $1"#;
const OTHER_SPENT: &str = "SELECT 1 FROM {g}.refresh_token
    WHERE tenant = $1 AND family = $2 AND spent_at > 0 AND hash <> $3 LIMIT 1";
const SUPERSEDE: &str = "UPDATE {g}.refresh_token SET spent_at = 0
    WHERE tenant = $1 AND family = $2 AND spent_at IS NULL RETURNING hash";
const FAMILY_OWNER: &str =
    r#"SELECT "user" FROM {g}.refresh_token WHERE tenant = $1 AND family = $2 LIMIT 1"#;
const REVOKE_FAMILY: &str = "DELETE FROM {g}.refresh_token WHERE tenant = $1 AND family = $2";
const FAMILY_LIVES: &str = "SELECT 1 FROM {g}.refresh_token
    WHERE tenant = $1 AND family = $2 AND spent_at IS NULL AND expires_at > $3 LIMIT 1";
const PUT_TICKET: &str = r#"INSERT INTO {g}.ticket
    (hash, tenant, "user", family, device, expires_at) VALUES ($1, $2, $3, $4, $5, $6)"#;
const TAKE_TICKET: &str = r#"DELETE FROM {g}.ticket WHERE hash = $1
    RETURNING tenant, "user", family, device, expires_at"#;

fn store_args(token: &RefreshToken) -> Vec<Arg> {
    vec![
        hash(token.hash),
        Arg::Id(token.family),
        tenant_arg(token.tenant),
        Arg::Id(token.user.0),
        Arg::MaybeId(token.device.map(|device| device.0)),
        Arg::Int(token.expires_at.0),
    ]
}

async fn revoke_in(
    transaction: &mut Transaction,
    tenant: TenantId,
    family: Uuid,
) -> Result<(), sqlx::Error> {
    let args = vec![tenant_arg(tenant), Arg::Id(family)];
    transaction.rows(REVOKE_FAMILY, args).await.map(|_| ())
}

/// The other tokens of the family of `token`.
fn beside(token: &RefreshToken, old: SecretHash) -> Vec<Arg> {
    vec![tenant_arg(token.tenant), Arg::Id(token.family), hash(old)]
}

/// Makes the successor of `old` void, if `old` is the one that the live token follows.
async fn supersede(
    transaction: &mut Transaction,
    token: &RefreshToken,
    old: SecretHash,
) -> Result<bool, sqlx::Error> {
    if !transaction.rows(OTHER_SPENT, beside(token, old)).await?.is_empty() {
        return Ok(false);
    }
    let family = vec![tenant_arg(token.tenant), Arg::Id(token.family)];
    Ok(!transaction.rows(SUPERSEDE, family).await?.is_empty())
}

impl SqlAccounts {
    pub(super) async fn insert_refresh(&self, token: RefreshToken) -> Result<(), sqlx::Error> {
        self.global(For::Writing, STORE, store_args(&token)).await.map(|_| ())
    }

    /// Spends `old` and stores its successor, or puts another one in the place of a successor that
    /// was never shown. Every statement after the lock sees what its last holder committed, so at
    /// most one token of a family lives and a revoked family gets no successor.
    pub(super) async fn rotate(
        &self,
        old: SecretHash,
        new: SecretHash,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Rotation, sqlx::Error> {
        // Asked before the transaction: nonsense then costs one read.
        let owner = self.global(For::Deciding, OWNER, vec![hash(old), Arg::Int(now.0)]).await?;
        let Some(owner) = owner.first() else { return Ok(Rotation::Unknown) };
        let user = UserId(owner.id(0)?);
        let mut transaction = self.db.begin(GLOBAL, For::Writing).await?;
        self.lock_user(&mut transaction, user).await?;
        let spent = transaction.rows(SPEND, vec![hash(old), Arg::Int(now.0)]).await?;
        let successor = |row: &Row| {
            Ok::<_, sqlx::Error>(RefreshToken {
                hash: new,
                family: row.id(0)?,
                tenant: TenantId(row.whole(1)?.cast_unsigned()),
                user: UserId(row.id(2)?),
                device: row.maybe_id(3)?.map(DeviceId),
                expires_at,
            })
        };
        let rotation = if let Some(row) = spent.first() {
            let token = successor(row)?;
            transaction.rows(SETTLE, beside(&token, old)).await?;
            transaction.rows(STORE, store_args(&token)).await?;
            Rotation::Rotated { token }
        } else if let Some(row) = transaction.rows(SPENT, vec![hash(old)]).await?.first() {
            let token = successor(row)?;
            let spent_at = Timestamp(row.int(4)?);
            if may_be_shown_again(spent_at, now) && supersede(&mut transaction, &token, old).await?
            {
                transaction.rows(STORE, store_args(&token)).await?;
                Rotation::Rotated { token }
            } else {
                revoke_in(&mut transaction, token.tenant, token.family).await?;
                Rotation::Reused { user, family: token.family }
            }
        } else {
            Rotation::Unknown
        };
        transaction.commit().await?;
        Ok(rotation)
    }

    pub(super) async fn revoke(&self, tenant: TenantId, family: Uuid) -> Result<(), sqlx::Error> {
        let args = vec![tenant_arg(tenant), Arg::Id(family)];
        let owner = self.global(For::Deciding, FAMILY_OWNER, args).await?;
        let Some(owner) = owner.first() else { return Ok(()) };
        let mut transaction = self.db.begin(GLOBAL, For::Writing).await?;
        self.lock_user(&mut transaction, UserId(owner.id(0)?)).await?;
        revoke_in(&mut transaction, tenant, family).await?;
        transaction.commit().await
    }

    pub(super) async fn has_live_token(
        &self,
        tenant: TenantId,
        family: Uuid,
        now: Timestamp,
    ) -> Result<bool, sqlx::Error> {
        let args = vec![tenant_arg(tenant), Arg::Id(family), Arg::Int(now.0)];
        Ok(!self.global(For::Deciding, FAMILY_LIVES, args).await?.is_empty())
    }

    pub(super) async fn insert_ticket(
        &self,
        secret: SecretHash,
        ticket: Ticket,
    ) -> Result<(), sqlx::Error> {
        let args = vec![
            hash(secret),
            tenant_arg(ticket.tenant),
            Arg::Id(ticket.user.0),
            Arg::Id(ticket.family),
            Arg::MaybeId(ticket.device.map(|device| device.0)),
            Arg::Int(ticket.expires_at.0),
        ];
        self.global(For::Writing, PUT_TICKET, args).await.map(|_| ())
    }

    /// Deletes a ticket, whether or not it has run out, and gives it if it has not.
    pub(super) async fn delete_ticket(
        &self,
        secret: SecretHash,
        now: Timestamp,
    ) -> Result<Option<Ticket>, sqlx::Error> {
        let rows = self.global(For::Writing, TAKE_TICKET, vec![hash(secret)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let ticket = Ticket {
            tenant: TenantId(row.whole(0)?.cast_unsigned()),
            user: UserId(row.id(1)?),
            family: row.id(2)?,
            device: row.maybe_id(3)?.map(DeviceId),
            expires_at: Timestamp(row.int(4)?),
        };
        Ok((ticket.expires_at > now).then_some(ticket))
    }
}
