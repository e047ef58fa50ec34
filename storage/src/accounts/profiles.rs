//! What users say of themselves.

use parlance_actors::ports::accounts::{AccountError, ProfileChange};
use parlance_actors::vocab::{DisplayName, TenantId, User, UserId};

use super::{SqlAccounts, away, users};
use crate::sql::{Arg, For};

/// One statement, so that the username which a name must not be is looked for as it is written.
const SET_PROFILE: &str = r#"UPDATE {t}."user" SET
      name = CASE WHEN $2 THEN $3 ELSE name END,
      name_folded = CASE WHEN $2 THEN $4 ELSE name_folded END,
      about = CASE WHEN $5 THEN $6 ELSE about END
    WHERE id = $1
      AND NOT EXISTS (SELECT 1 FROM {t}."user" AS other WHERE other.folded = $7 AND other.id <> $1)
    RETURNING id, username, admin, disabled, created_at, name, about"#;

impl SqlAccounts {
    pub(super) async fn change_profile(
        &self,
        tenant: TenantId,
        user: UserId,
        change: ProfileChange,
    ) -> Result<User, AccountError> {
        let name = change.name.clone().flatten();
        let about = change.about.clone().flatten();
        let args = vec![
            Arg::Id(user.0),
            Arg::Flag(change.name.is_some()),
            Arg::MaybeText(name.as_ref().map(|name| name.as_str().to_owned())),
            Arg::MaybeText(name.as_ref().map(DisplayName::folded)),
            Arg::Flag(change.about.is_some()),
            Arg::MaybeText(about.map(|about| about.as_str().to_owned())),
            Arg::MaybeText(name.as_ref().map(DisplayName::looks_like)),
        ];
        let rows = self.db.rows(tenant, For::Writing, SET_PROFILE, args).await.map_err(away)?;
        if let Some(row) = rows.first() {
            return users::read(tenant, row).map_err(away);
        }
        match self.read_user(tenant, user).await.map_err(away)? {
            Some(_) => Err(AccountError::NameTaken),
            None => Err(AccountError::NoSuchUser),
        }
    }
}
