//! Users: made, found, changed.

use std::collections::BTreeSet;

use parlance_actors::ports::accounts::{AccountError, Credential, NewUser};
use parlance_actors::vocab::{
    About, DisplayName, Profile, TenantId, Timestamp, User, UserId, Username,
};

use super::{FIRST_ADMIN_LOCK, GLOBAL, SqlAccounts, away, tenant_arg};
use crate::limits::USERS_AT_ONCE_MAX;
use crate::sql::{Arg, For, Row, Transaction};

const CREATE: &str = r#"INSERT INTO {t}."user" (id, username, folded, password, admin, created_at)
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (folded) DO NOTHING RETURNING id"#;
const ANY_ADMIN: &str = r#"SELECT 1 FROM {t}."user" WHERE admin LIMIT 1"#;
const BY_NAME: &str = r#"SELECT id, username, admin, disabled, created_at, name, about, password
    FROM {t}."user" WHERE folded = $1"#;
const BY_ID: &str = r#"SELECT id, username, admin, disabled, created_at, name, about
    FROM {t}."user" WHERE id = $1"#;
const BY_IDS: &str = r#"SELECT id, username, admin, disabled, created_at, name, about
    FROM {t}."user" WHERE id IN"#;
/// Ranges and not LIKE: they have no wildcards. Each is read in the order of its own index, which is so the one that is
/// used: in the order of the other one, all users would be looked at for a name that few have.
pub(super) const BY_PREFIX: &str = r#"SELECT id, username, admin, disabled, created_at, name, about, folded FROM (
      SELECT * FROM {t}."user" WHERE folded >= $1 AND folded < $2 ORDER BY folded LIMIT $3
    ) AS by_username
    UNION
    SELECT id, username, admin, disabled, created_at, name, about, folded FROM (
      SELECT * FROM {t}."user" WHERE name_folded >= $4 AND name_folded < $5 ORDER BY name_folded LIMIT $3
    ) AS by_name
    ORDER BY folded LIMIT $3"#;
const SET_PASSWORD: &str = r#"UPDATE {t}."user" SET password = $2 WHERE id = $1 RETURNING id"#;
const SET_DISABLED: &str = r#"UPDATE {t}."user" SET disabled = $2 WHERE id = $1 RETURNING id"#;
const REVOKE_USER: &str = r#"DELETE FROM {g}.refresh_token WHERE tenant = $1 AND "user" = $2"#;

/// A change of a user that ends all their sign-ins.
pub(super) enum Change {
    /// A new password's PHC string.
    Password(String),
    /// They may not sign in any more.
    Disable,
}

impl Change {
    fn statement(&self, user: UserId) -> (&'static str, Vec<Arg>) {
        match self {
            Self::Password(phc) => (SET_PASSWORD, vec![Arg::Id(user.0), Arg::Text(phc.clone())]),
            Self::Disable => (SET_DISABLED, vec![Arg::Id(user.0), Arg::Flag(true)]),
        }
    }
}

/// A row that begins with the columns of [`BY_ID`].
pub(super) fn read(tenant: TenantId, row: &Row) -> Result<User, sqlx::Error> {
    Ok(User {
        tenant,
        id: UserId(row.id(0)?),
        username: Username::known(row.text(1)?),
        profile: Profile {
            name: row.maybe_text(5)?.map(DisplayName::known),
            about: row.maybe_text(6)?.map(About::known),
        },
        admin: row.flag(2)?,
        disabled: row.flag(3)?,
        created_at: Timestamp(row.int(4)?),
    })
}

/// The arguments of [`CREATE`], and the user that it makes.
fn made(new: NewUser) -> (Vec<Arg>, User) {
    let NewUser { tenant, id, username, password, admin, at } = new;
    let args = vec![
        Arg::Id(id.0),
        Arg::Text(username.as_str().to_owned()),
        Arg::Text(username.folded()),
        Arg::MaybeText(password),
        Arg::Flag(admin),
        Arg::Int(at.0),
    ];
    let profile = Profile::default();
    (args, User { tenant, id, username, profile, admin, disabled: false, created_at: at })
}

impl SqlAccounts {
    pub(super) async fn make_user(&self, new: NewUser) -> Result<User, AccountError> {
        let (args, user) = made(new);
        let rows = self.db.rows(user.tenant, For::Writing, CREATE, args).await.map_err(away)?;
        if rows.is_empty() { Err(AccountError::NameTaken) } else { Ok(user) }
    }

    pub(super) async fn make_first_admin(
        &self,
        new: NewUser,
    ) -> Result<Option<User>, AccountError> {
        let tenant = new.tenant;
        let any = self.db.rows(tenant, For::Deciding, ANY_ADMIN, Vec::new()).await;
        if !any.map_err(away)?.is_empty() {
            return Ok(None);
        }
        let mut transaction = self.db.begin(tenant, For::Writing).await.map_err(away)?;
        let which = u64::from(tenant.0);
        self.lock(&mut transaction, FIRST_ADMIN_LOCK, which).await.map_err(away)?;
        // Asked again in a statement of its own: it sees what the last holder of the lock did.
        let any = transaction.rows(ANY_ADMIN, Vec::new()).await.map_err(away)?;
        let answer = if any.is_empty() {
            let (args, user) = made(NewUser { admin: true, ..new });
            let rows = transaction.rows(CREATE, args).await.map_err(away)?;
            if rows.is_empty() { Err(AccountError::NameTaken) } else { Ok(Some(user)) }
        } else {
            Ok(None)
        };
        transaction.commit().await.map_err(away)?;
        answer
    }

    pub(super) async fn read_credential(
        &self,
        tenant: TenantId,
        username: &str,
    ) -> Result<Option<Credential>, sqlx::Error> {
        let folded = Arg::Text(username.to_lowercase());
        let rows = self.db.rows(tenant, For::Deciding, BY_NAME, vec![folded]).await?;
        let credential =
            |row: &Row| Ok(Credential { user: read(tenant, row)?, password: row.maybe_text(7)? });
        rows.first().map(credential).transpose()
    }

    pub(super) async fn read_user(
        &self,
        tenant: TenantId,
        user: UserId,
    ) -> Result<Option<User>, sqlx::Error> {
        let rows = self.db.rows(tenant, For::Deciding, BY_ID, vec![Arg::Id(user.0)]).await?;
        rows.first().map(|row| read(tenant, row)).transpose()
    }

    /// Asks in lists whose lengths are powers of two, filled up with repeats, so that there are
    /// few statements to prepare.
    pub(super) async fn read_users(
        &self,
        tenant: TenantId,
        users: &[UserId],
    ) -> Result<Vec<User>, sqlx::Error> {
        let ids: BTreeSet<UserId> = users.iter().copied().collect();
        let ids: Vec<UserId> = ids.into_iter().collect();
        let mut found = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(USERS_AT_ONCE_MAX) {
            let length = chunk.len().next_power_of_two();
            let padded = chunk.iter().chain(std::iter::repeat(&chunk[0])).take(length);
            let args = padded.map(|id| Arg::Id(id.0)).collect();
            let places: Vec<String> = (1..=length).map(|place| format!("${place}")).collect();
            let sql = format!("{BY_IDS} ({})", places.join(", "));
            for row in &self.db.rows(tenant, For::Deciding, &sql, args).await? {
                found.push(read(tenant, row)?);
            }
        }
        Ok(found)
    }

    pub(super) async fn read_users_from(
        &self,
        tenant: TenantId,
        prefix: &str,
        limit: u16,
    ) -> Result<Vec<User>, sqlx::Error> {
        // No name holds the last code point: it is a noncharacter.
        let range = |from: String| [Arg::Text(format!("{from}{}", char::MAX)), Arg::Text(from)];
        let ([to, from], [name_to, name_from]) =
            (range(prefix.to_lowercase()), range(DisplayName::fold(prefix)));
        let args = vec![from, to, Arg::Int(limit.into()), name_from, name_to];
        let rows = self.db.rows(tenant, For::Reading, BY_PREFIX, args).await?;
        rows.iter().map(|row| read(tenant, row)).collect()
    }

    pub(super) async fn enable(&self, tenant: TenantId, user: UserId) -> Result<(), AccountError> {
        let args = vec![Arg::Id(user.0), Arg::Flag(false)];
        let rows = self.db.rows(tenant, For::Writing, SET_DISABLED, args).await.map_err(away)?;
        if rows.is_empty() { Err(AccountError::NoSuchUser) } else { Ok(()) }
    }

    /// Changes a user and revokes their refresh tokens, in one transaction where one reaches
    /// both. In another tenant's SQLite file it cannot: there tokens are revoked before and
    /// after, so that whatever ends in between leaves nobody signed in with what was changed.
    pub(super) async fn change_and_revoke(
        &self,
        tenant: TenantId,
        user: UserId,
        change: Change,
    ) -> Result<(), AccountError> {
        let (sql, args) = change.statement(user);
        let together = self.reaches_global(tenant);
        if !together {
            self.revoke_user(tenant, user).await.map_err(away)?;
        }
        let mut transaction = self.db.begin(tenant, For::Writing).await.map_err(away)?;
        self.lock_user(&mut transaction, user).await.map_err(away)?;
        let rows = transaction.rows(sql, args).await.map_err(away)?;
        if together {
            revoke_in(&mut transaction, tenant, user).await.map_err(away)?;
        }
        transaction.commit().await.map_err(away)?;
        if !together {
            self.revoke_user(tenant, user).await.map_err(away)?;
        }
        if rows.is_empty() { Err(AccountError::NoSuchUser) } else { Ok(()) }
    }

    async fn revoke_user(&self, tenant: TenantId, user: UserId) -> Result<(), sqlx::Error> {
        let mut transaction = self.db.begin(GLOBAL, For::Writing).await?;
        revoke_in(&mut transaction, tenant, user).await?;
        transaction.commit().await
    }
}

async fn revoke_in(
    transaction: &mut Transaction,
    tenant: TenantId,
    user: UserId,
) -> Result<(), sqlx::Error> {
    let args = vec![tenant_arg(tenant), Arg::Id(user.0)];
    transaction.rows(REVOKE_USER, args).await.map(|_| ())
}
