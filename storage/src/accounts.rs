//! The port `Accounts` on either database. The statements are the same on both; where PostgreSQL
//! needs a lock, SQLite's one writer is it.
//!
//! Users live in their tenant's schema or file. What signing in needs before a tenant is known
//! is global: on SQLite it is in the file of the tenant `main`. This module hashes and
//! checks no secret.

mod limits;
mod profiles;
mod sessions;
mod signing;
mod users;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parlance_actors::ports::accounts::{
    AccountError, Accounts, Credential, Failures, LockoutRule, NewUser, ProfileChange,
    RefreshToken, Rotation, SecretHash, SigningKey, Ticket,
};
use parlance_actors::vocab::{TenantId, Timestamp, User, UserId};
use tokio::sync::SemaphorePermit;
use uuid::Uuid;

use crate::Storage;
use crate::limits::ACCOUNT_LOCK_WAIT;
use crate::lists::Lists;
use crate::sql::{Arg, Db, For, Row, Transaction};

/// Where the tables are that belong to no tenant.
const GLOBAL: TenantId = TenantId::MAIN;

/// Advisory locks of PostgreSQL, told apart by what they are mixed with: any two numbers that
/// are not used elsewhere. Two callers that meet by chance wait for each other, no more.
const USER_LOCK: u64 = 0x7061_726c_7573_6572;
const FIRST_ADMIN_LOCK: u64 = 0x7061_726c_6164_6d69;
const SIGNING_LOCK: u64 = 0x7061_726c_7369_676e;

/// The port over a database.
#[derive(Debug, Clone)]
pub(crate) struct SqlAccounts {
    db: Db,
    lists: Arc<Lists>,
}

impl Storage {
    /// Accounts and what signing in needs.
    #[must_use]
    pub fn accounts(&self) -> Arc<dyn Accounts> {
        Arc::new(SqlAccounts { db: self.db.clone(), lists: self.lists.clone() })
    }
}

fn away(error: sqlx::Error) -> AccountError {
    AccountError::Unavailable(error.to_string())
}

fn after(now: Timestamp, wait: Duration) -> i64 {
    now.0.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
}

fn hash(secret: SecretHash) -> Arg {
    Arg::Bytes(secret.0.to_vec())
}

fn tenant_arg(tenant: TenantId) -> Arg {
    Arg::Whole(tenant.0.cast_signed())
}

impl SqlAccounts {
    /// Looking up many users is a list, and waits for its turn like others.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, AccountError> {
        self.lists.turn().await.map_err(|_| AccountError::Busy)
    }

    /// One statement on the global tables.
    async fn global(
        &self,
        purpose: For,
        sql: &str,
        args: Vec<Arg>,
    ) -> Result<Vec<Row>, sqlx::Error> {
        self.db.rows(GLOBAL, purpose, sql, args).await
    }

    /// Whether a transaction of the tenant reaches the global tables too.
    fn reaches_global(&self, tenant: TenantId) -> bool {
        matches!(self.db, Db::Postgres(_)) || tenant == GLOBAL
    }

    /// Waits until nobody else's transaction holds this lock; it is held until the end of
    /// `transaction`. On SQLite a transaction that writes is alone anyway. A node that hangs
    /// between two statements loses the lock, and nobody waits for one without end.
    async fn lock(
        &self,
        transaction: &mut Transaction,
        kind: u64,
        which: u64,
    ) -> Result<(), sqlx::Error> {
        const LOCK: &str = "SELECT set_config('lock_timeout', $2, true),
              set_config('idle_in_transaction_session_timeout', $2, true),
              pg_advisory_xact_lock($1)";
        if matches!(self.db, Db::Postgres(_)) {
            let key = Arg::Int((kind ^ which).cast_signed());
            let wait = Arg::Text(format!("{}ms", ACCOUNT_LOCK_WAIT.as_millis()));
            transaction.rows(LOCK, vec![key, wait]).await?;
        }
        Ok(())
    }

    /// Whoever stores, spends or revokes refresh tokens of a user holds this, so that no
    /// successor is stored beside a revocation that does not see it yet.
    async fn lock_user(
        &self,
        transaction: &mut Transaction,
        user: UserId,
    ) -> Result<(), sqlx::Error> {
        self.lock(transaction, USER_LOCK, user.0.as_u64_pair().1).await
    }
}

#[async_trait]
impl Accounts for SqlAccounts {
    async fn create_user(&self, new: NewUser) -> Result<User, AccountError> {
        self.make_user(new).await
    }

    async fn create_first_admin(&self, new: NewUser) -> Result<Option<User>, AccountError> {
        self.make_first_admin(new).await
    }

    async fn credential(
        &self,
        tenant: TenantId,
        username: &str,
    ) -> Result<Option<Credential>, AccountError> {
        self.read_credential(tenant, username).await.map_err(away)
    }

    async fn user(&self, tenant: TenantId, user: UserId) -> Result<Option<User>, AccountError> {
        self.read_user(tenant, user).await.map_err(away)
    }

    async fn users(&self, tenant: TenantId, users: &[UserId]) -> Result<Vec<User>, AccountError> {
        // One is no list: who opens a conversation is not held up by those who look many up.
        let _turn = if users.len() > 1 { Some(self.turn().await?) } else { None };
        self.read_users(tenant, users).await.map_err(away)
    }

    async fn find_users(
        &self,
        tenant: TenantId,
        prefix: &str,
        limit: u16,
    ) -> Result<Vec<User>, AccountError> {
        let _turn = self.turn().await?;
        self.read_users_from(tenant, prefix, limit).await.map_err(away)
    }

    async fn set_profile(
        &self,
        tenant: TenantId,
        user: UserId,
        change: ProfileChange,
    ) -> Result<User, AccountError> {
        self.change_profile(tenant, user, change).await
    }

    async fn set_password(
        &self,
        tenant: TenantId,
        user: UserId,
        password: String,
    ) -> Result<(), AccountError> {
        self.change_and_revoke(tenant, user, users::Change::Password(password)).await
    }

    async fn set_disabled(
        &self,
        tenant: TenantId,
        user: UserId,
        disabled: bool,
    ) -> Result<(), AccountError> {
        if disabled {
            self.change_and_revoke(tenant, user, users::Change::Disable).await
        } else {
            self.enable(tenant, user).await
        }
    }

    async fn store_refresh(&self, token: RefreshToken) -> Result<(), AccountError> {
        self.insert_refresh(token).await.map_err(away)
    }

    async fn rotate_refresh(
        &self,
        old: SecretHash,
        new: SecretHash,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Rotation, AccountError> {
        self.rotate(old, new, now, expires_at).await.map_err(away)
    }

    async fn revoke_family(&self, tenant: TenantId, family: Uuid) -> Result<(), AccountError> {
        self.revoke(tenant, family).await.map_err(away)
    }

    async fn family_lives(
        &self,
        tenant: TenantId,
        family: Uuid,
        now: Timestamp,
    ) -> Result<bool, AccountError> {
        self.has_live_token(tenant, family, now).await.map_err(away)
    }

    async fn put_ticket(&self, hash: SecretHash, ticket: Ticket) -> Result<(), AccountError> {
        self.insert_ticket(hash, ticket).await.map_err(away)
    }

    async fn take_ticket(
        &self,
        hash: SecretHash,
        now: Timestamp,
    ) -> Result<Option<Ticket>, AccountError> {
        self.delete_ticket(hash, now).await.map_err(away)
    }

    async fn hit(
        &self,
        subject: &str,
        max: u32,
        window: Duration,
        now: Timestamp,
    ) -> Result<Result<(), Duration>, AccountError> {
        self.count_use(subject, max, window, now).await.map_err(away)
    }

    async fn fail(
        &self,
        subject: &str,
        rule: LockoutRule,
        now: Timestamp,
    ) -> Result<Failures, AccountError> {
        self.count_failure(subject, rule, now).await.map_err(away)
    }

    async fn failures(&self, subject: &str, now: Timestamp) -> Result<Failures, AccountError> {
        self.read_failures(subject, now).await.map_err(away)
    }

    async fn forgive(&self, subject: &str) -> Result<(), AccountError> {
        self.forget_failures(subject).await.map_err(away)
    }

    async fn signing_keys(&self, now: Timestamp) -> Result<Vec<SigningKey>, AccountError> {
        self.read_signing_keys(now).await.map_err(away)
    }

    async fn add_signing_key(
        &self,
        key: SigningKey,
        unless_after: Timestamp,
        others_end_at: Timestamp,
    ) -> Result<Vec<SigningKey>, AccountError> {
        self.insert_signing_key(key, unless_after, others_end_at).await.map_err(away)
    }

    async fn sweep(&self, now: Timestamp) -> Result<u64, AccountError> {
        self.delete_ended(now).await.map_err(away)
    }
}

#[cfg(test)]
mod tests;
