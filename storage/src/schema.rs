//! Where tables live, and the one place where SQL is completed with a schema's name.
//!
//! SQL is written with `{t}.` for the tenant's schema and `{g}.` for the global one. SQLite has a
//! file for each tenant, so both vanish there.

use std::collections::BTreeMap;
use std::sync::Arc;

use parlance_actors::vocab::TenantId;
use sqlx::AssertSqlSafe;

use crate::error::StorageError;

/// The schema of what belongs to no tenant.
pub(crate) const GLOBAL: &str = "parlance";
/// The longest name of a tenant, in bytes.
const NAME_BYTES_MAX: usize = 31;

/// A validated place for a tenant's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schema {
    name: Arc<str>,
    qualified: bool,
}

impl Schema {
    /// A schema of PostgreSQL, named as the tenant.
    pub(crate) fn qualified(name: &str) -> Result<Self, StorageError> {
        Ok(Self { name: valid(name)?.into(), qualified: true })
    }

    /// A file of SQLite, named as the tenant.
    pub(crate) fn file(name: &str) -> Result<Self, StorageError> {
        Ok(Self { name: valid(name)?.into(), qualified: false })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Completes a statement. Safe, because the text is ours and the name was validated.
    pub(crate) fn sql(&self, text: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(if self.qualified {
            text.replace("{t}", &self.name).replace("{g}", GLOBAL)
        } else {
            text.replace("{t}.", "").replace("{g}.", "")
        })
    }
}

fn valid(name: &str) -> Result<&str, StorageError> {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let shaped = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= NAME_BYTES_MAX
        && name.chars().all(letters);
    if !shaped {
        return Err(StorageError::Config(format!(
            "tenant name {name:?}: allowed are a lower-case letter and up to 30 of a-z, 0-9 and _"
        )));
    }
    let reserved = [GLOBAL, "public", "information_schema"].contains(&name);
    if reserved || name.starts_with("pg_") {
        return Err(StorageError::Config(format!("tenant name {name:?} is reserved")));
    }
    Ok(name)
}

/// The tenants that storage was opened with.
#[derive(Debug, Clone)]
pub(crate) struct Schemas(Arc<BTreeMap<TenantId, Schema>>);

impl Schemas {
    pub(crate) fn new(schemas: BTreeMap<TenantId, Schema>) -> Self {
        Self(Arc::new(schemas))
    }

    /// The tenant's schema, or the error that there is none.
    pub(crate) fn of(&self, tenant: TenantId) -> Result<&Schema, sqlx::Error> {
        let missing = || sqlx::Error::InvalidArgument(format!("storage has no tenant {tenant}"));
        self.0.get(&tenant).ok_or_else(missing)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (TenantId, &Schema)> {
        self.0.iter().map(|(id, schema)| (*id, schema))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_leave_its_quotes_is_refused() {
        for bad in ["", "a;drop", "A", "1a", "a\"b", "pg_x", "parlance", "public", &"a".repeat(32)]
        {
            assert!(Schema::qualified(bad).is_err(), "{bad:?}");
        }
        let schema = Schema::qualified("main").expect("a good name");
        assert_eq!(schema.sql("SELECT {t}.a, {g}.b").0, "SELECT main.a, parlance.b");
        let file = Schema::file("main").expect("a good name");
        assert_eq!(file.sql("SELECT {t}.a, {g}.b").0, "SELECT a, b");
    }
}
