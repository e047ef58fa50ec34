//! Accounts and what signing in needs: users, refresh tokens, socket tickets, limits, lockouts
//! and signing keys. All of it is in the database, because any node may need it.
//!
//! Secrets arrive here hashed or sealed. This port never sees a password, a token or a bare key.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::limits::REFRESH_AGAIN;
use crate::vocab::{About, DeviceId, DisplayName, TenantId, Timestamp, User, UserId, Username};

/// A SHA-256 of a secret that only its holder knows.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretHash(pub [u8; 32]);

impl std::fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// An account to be made.
#[derive(Clone)]
pub struct NewUser {
    /// The tenant.
    pub tenant: TenantId,
    /// Its id.
    pub id: UserId,
    /// Its name, unique in the tenant without regard to case.
    pub username: Username,
    /// The password's PHC string (argon2id); `None` for accounts of a directory service.
    pub password: Option<String>,
    /// May administer the tenant.
    pub admin: bool,
    /// When.
    pub at: Timestamp,
}

/// What is to be changed of a profile: `None` stays, `Some(None)` is removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProfileChange {
    /// The name to be shown.
    pub name: Option<Option<DisplayName>>,
    /// The line about the user.
    pub about: Option<Option<About>>,
}

/// An account with the PHC string of its password.
#[derive(Clone)]
pub struct Credential {
    /// The account.
    pub user: User,
    /// The password's PHC string, if it has one.
    pub password: Option<String>,
}

impl std::fmt::Debug for NewUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (id, username) = (self.id, &self.username);
        f.debug_struct("NewUser")
            .field("id", &id)
            .field("username", username)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A refresh token as it is stored. Tokens that follow one another after one sign-in are a family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshToken {
    /// The token's hash.
    pub hash: SecretHash,
    /// The sign-in that it descends from.
    pub family: Uuid,
    /// The tenant.
    pub tenant: TenantId,
    /// The account.
    pub user: UserId,
    /// The device.
    pub device: Option<DeviceId>,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Whether a token that was spent first at `spent_at` may be shown again, if its successor was never
/// shown: a lost answer is asked for again within minutes.
#[must_use]
pub const fn may_be_shown_again(spent_at: Timestamp, now: Timestamp) -> bool {
    spent_at.0 > 0 && now.0.saturating_sub(spent_at.0) < REFRESH_AGAIN.as_millis() as i64
}

/// What became of a refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// The old token is spent and the new one stored. A successor that the old one had before, and
    /// that was never shown, is void.
    Rotated {
        /// The stored new token, with family, user and device of the old one.
        token: RefreshToken,
    },
    /// The token may not be shown any more: somebody else has it. The whole family is revoked now.
    Reused {
        /// Whose it was.
        user: UserId,
        /// The family.
        family: Uuid,
    },
    /// No such token, or it has run out.
    Unknown,
}

/// Whom a one-time socket ticket lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The tenant.
    pub tenant: TenantId,
    /// The account.
    pub user: UserId,
    /// The sign-in that it comes from.
    pub family: Uuid,
    /// The device.
    pub device: Option<DeviceId>,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A signing key, sealed with the cluster secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// Its id, the `kid` of the tokens that it signs.
    pub id: Uuid,
    /// The sealed key.
    pub sealed: Vec<u8>,
    /// When it was made. The newest that has begun signs.
    pub created_at: Timestamp,
    /// From when on it may sign: every node has read it by then.
    pub signs_from: Timestamp,
    /// When the last token that it signed has run out; `None` while it is the newest.
    pub ends_at: Option<Timestamp>,
}

/// Failed sign-ins of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failures {
    /// In a row, within the window.
    pub count: u32,
    /// The account rests until then.
    pub locked_until: Option<Timestamp>,
}

/// How failures become a lockout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockoutRule {
    /// This many in a row lock the account.
    pub failures: u32,
    /// A failure is forgotten after this long.
    pub window: Duration,
    /// It rests for this long.
    pub rest: Duration,
}

/// Why an account call did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AccountError {
    /// Nothing was changed.
    #[error("that username is in use")]
    NameTaken,
    /// Nothing was changed.
    #[error("no such user")]
    NoSuchUser,
    /// Nothing was looked up: too many look-ups wait already.
    #[error("too many look-ups at once")]
    Busy,
    /// The database is away. Whether it was done may be unknown.
    #[error("accounts are unavailable: {0}")]
    Unavailable(String),
}

/// Users and what signing in needs.
#[async_trait]
pub trait Accounts: Send + Sync + 'static {
    /// Makes an account.
    async fn create_user(&self, new: NewUser) -> Result<User, AccountError>;

    /// Makes the tenant's first administrator unless it already has one; `None` when it has.
    /// Of several nodes that try at once exactly one gets the account.
    async fn create_first_admin(&self, new: NewUser) -> Result<Option<User>, AccountError>;

    /// An account by its name, without regard to case.
    async fn credential(
        &self,
        tenant: TenantId,
        username: &str,
    ) -> Result<Option<Credential>, AccountError>;

    /// An account.
    async fn user(&self, tenant: TenantId, user: UserId) -> Result<Option<User>, AccountError>;

    /// The accounts with these ids, in no order; ids that nobody has are left out.
    async fn users(&self, tenant: TenantId, users: &[UserId]) -> Result<Vec<User>, AccountError>;

    /// Accounts whose username or name to be shown starts with `prefix`, without regard to case: of the
    /// first `limit` by username and the first `limit` by name the first `limit`, ascending by username.
    async fn find_users(
        &self,
        tenant: TenantId,
        prefix: &str,
        limit: u16,
    ) -> Result<Vec<User>, AccountError>;

    /// Changes a profile and gives the account as it is then. [`AccountError::NameTaken`] when the
    /// name to be shown [looks like](DisplayName::looks_like) another user's username.
    async fn set_profile(
        &self,
        tenant: TenantId,
        user: UserId,
        change: ProfileChange,
    ) -> Result<User, AccountError>;

    /// Sets a password's PHC string and revokes every refresh token of the user.
    async fn set_password(
        &self,
        tenant: TenantId,
        user: UserId,
        password: String,
    ) -> Result<(), AccountError>;

    /// Sets whether a user may sign in; disabling revokes every refresh token of theirs.
    async fn set_disabled(
        &self,
        tenant: TenantId,
        user: UserId,
        disabled: bool,
    ) -> Result<(), AccountError>;

    /// Stores a refresh token of a new sign-in.
    async fn store_refresh(&self, token: RefreshToken) -> Result<(), AccountError>;

    /// Spends a refresh token and stores its successor, in one transaction.
    ///
    /// The answer may be lost, so a token that is spent can be shown again as long as its successor
    /// was not, and [`may_be_shown_again`] says so: it gets another successor in the place of that one.
    /// Showing the one that was replaced, or any older token, revokes the family.
    async fn rotate_refresh(
        &self,
        old: SecretHash,
        new: SecretHash,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Rotation, AccountError>;

    /// Revokes a sign-in.
    async fn revoke_family(&self, tenant: TenantId, family: Uuid) -> Result<(), AccountError>;

    /// Whether a sign-in still has a refresh token that is neither revoked nor run out.
    async fn family_lives(
        &self,
        tenant: TenantId,
        family: Uuid,
        now: Timestamp,
    ) -> Result<bool, AccountError>;

    /// Stores a socket ticket.
    async fn put_ticket(&self, hash: SecretHash, ticket: Ticket) -> Result<(), AccountError>;

    /// Takes a socket ticket: of several that try, exactly one gets it.
    async fn take_ticket(
        &self,
        hash: SecretHash,
        now: Timestamp,
    ) -> Result<Option<Ticket>, AccountError>;

    /// Counts one use of `subject` in fixed windows; `Err(wait)` inside when `max` is passed.
    async fn hit(
        &self,
        subject: &str,
        max: u32,
        window: Duration,
        now: Timestamp,
    ) -> Result<Result<(), Duration>, AccountError>;

    /// Counts a failed sign-in of `subject` and locks it by the rule.
    async fn fail(
        &self,
        subject: &str,
        rule: LockoutRule,
        now: Timestamp,
    ) -> Result<Failures, AccountError>;

    /// The failures of `subject`.
    async fn failures(&self, subject: &str, now: Timestamp) -> Result<Failures, AccountError>;

    /// Forgets the failures of `subject`.
    async fn forgive(&self, subject: &str) -> Result<(), AccountError>;

    /// Every signing key that has not ended, newest first.
    async fn signing_keys(&self, now: Timestamp) -> Result<Vec<SigningKey>, AccountError>;

    /// Adds a signing key unless one made after `unless_after` exists, and sets `ends_at` of the
    /// older ones that have none; gives the keys as [`Accounts::signing_keys`] does. Of several
    /// nodes that try at once exactly one adds.
    async fn add_signing_key(
        &self,
        key: SigningKey,
        unless_after: Timestamp,
        others_end_at: Timestamp,
    ) -> Result<Vec<SigningKey>, AccountError>;

    /// Removes what has run out: tickets, refresh tokens, limits, failures, keys. Gives how many rows.
    async fn sweep(&self, now: Timestamp) -> Result<u64, AccountError>;
}
