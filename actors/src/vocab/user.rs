//! A user account as the domain sees it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::{TenantId, Timestamp, UserId};
use super::profile::Profile;
use super::refusal::Refusal;
use crate::limits;

/// A user's name. Unique in a tenant without regard to case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Username(Arc<str>);

impl Username {
    /// A name that somebody registers: 3 to 50 of letters, digits, `_` and `-`.
    ///
    /// # Errors
    /// `bad_request` that names the rule which the text breaks.
    pub fn register(text: &str) -> Result<Self, Refusal> {
        let length = text.chars().count();
        if !(limits::USERNAME_CHARS_MIN..=limits::USERNAME_CHARS_MAX).contains(&length) {
            return Err(Refusal::bad_request(format!(
                "username has {length} characters; allowed are {} to {}",
                limits::USERNAME_CHARS_MIN,
                limits::USERNAME_CHARS_MAX
            )));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        match text.chars().find(|c| !allowed(*c)) {
            Some(bad) => Err(Refusal::bad_request(format!(
                "username holds {bad:?}; allowed are letters a to z, digits, _ and -"
            ))),
            None => Ok(Self(text.into())),
        }
    }

    /// A name that the database or a directory service vouches for; those may hold `.` and `@`.
    #[must_use]
    pub fn known(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, shared.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }

    /// The form that is unique in a tenant: lower case.
    #[must_use]
    pub fn folded(&self) -> String {
        self.0.to_lowercase()
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A user account, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The tenant.
    pub tenant: TenantId,
    /// The account.
    pub id: UserId,
    /// Its name.
    pub username: Username,
    /// What they say of themselves.
    pub profile: Profile,
    /// May administer the tenant.
    pub admin: bool,
    /// May not sign in.
    pub disabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
}
