//! Accounts in memory, for tests. One mutex makes every call atomic; nothing survives the value.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use uuid::Uuid;

use crate::ports::accounts::{
    AccountError, Accounts, Credential, Failures, LockoutRule, NewUser, ProfileChange,
    RefreshToken, Rotation, SecretHash, SigningKey, Ticket, may_be_shown_again,
};
use crate::vocab::{DisplayName, Profile, TenantId, Timestamp, User, UserId};

/// The port in memory.
#[derive(Default)]
pub struct MemoryAccounts {
    state: Mutex<State>,
    away: AtomicBool,
}

impl MemoryAccounts {
    /// From now on every call fails as if the database were away, or none does any more.
    pub fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    fn there(&self) -> Result<MutexGuard<'_, State>, AccountError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(AccountError::Unavailable("away for a test".into()));
        }
        Ok(self.state.lock())
    }
}

#[derive(Default)]
struct State {
    /// By tenant and folded name.
    users: BTreeMap<(TenantId, String), Credential>,
    names: HashMap<(TenantId, UserId), String>,
    refresh: HashMap<SecretHash, Stored>,
    tickets: HashMap<SecretHash, Ticket>,
    limits: HashMap<String, Limit>,
    lockouts: HashMap<String, Lockout>,
    keys: Vec<SigningKey>,
}

struct Stored {
    token: RefreshToken,
    state: Use,
}

/// What became of a refresh token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// It is the family's live one.
    Live,
    /// The live one follows it.
    Spent(Timestamp),
    /// It may not be shown any more.
    Void,
}

struct Limit {
    hits: u32,
    ends_at: Timestamp,
}

struct Lockout {
    failures: Failures,
    ends_at: Timestamp,
}

fn after(now: Timestamp, wait: Duration) -> Timestamp {
    Timestamp(now.0.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
}

fn between(now: Timestamp, then: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(then.0 - now.0).unwrap_or(0))
}

impl State {
    fn create(&mut self, new: NewUser) -> Result<User, AccountError> {
        let NewUser { tenant, id, username, password, admin, at } = new;
        let folded = username.folded();
        if self.users.contains_key(&(tenant, folded.clone())) {
            return Err(AccountError::NameTaken);
        }
        let profile = Profile::default();
        let user = User { tenant, id, username, profile, admin, disabled: false, created_at: at };
        self.names.insert((tenant, id), folded.clone());
        self.users.insert((tenant, folded), Credential { user: user.clone(), password });
        Ok(user)
    }

    fn of(&mut self, tenant: TenantId, user: UserId) -> Result<&mut Credential, AccountError> {
        let folded = self.names.get(&(tenant, user)).ok_or(AccountError::NoSuchUser)?;
        Ok(self.users.get_mut(&(tenant, folded.clone())).expect("every id has its name"))
    }

    fn revoke_user(&mut self, tenant: TenantId, user: UserId) {
        self.refresh.retain(|_, at| (at.token.tenant, at.token.user) != (tenant, user));
    }

    fn revoke_family(&mut self, tenant: TenantId, family: Uuid) {
        self.refresh.retain(|_, at| (at.token.tenant, at.token.family) != (tenant, family));
    }

    fn keys(&self, now: Timestamp) -> Vec<SigningKey> {
        let lives = |key: &&SigningKey| key.ends_at.is_none_or(|end| end > now);
        let mut keys: Vec<_> = self.keys.iter().filter(lives).cloned().collect();
        keys.sort_by_key(|key| std::cmp::Reverse((key.created_at, key.id)));
        keys
    }
}

#[async_trait]
impl Accounts for MemoryAccounts {
    async fn create_user(&self, new: NewUser) -> Result<User, AccountError> {
        self.there()?.create(new)
    }

    async fn create_first_admin(&self, new: NewUser) -> Result<Option<User>, AccountError> {
        let mut state = self.there()?;
        let is_admin = |at: &Credential| at.user.admin && at.user.tenant == new.tenant;
        if state.users.values().any(is_admin) {
            return Ok(None);
        }
        state.create(NewUser { admin: true, ..new }).map(Some)
    }

    async fn credential(
        &self,
        tenant: TenantId,
        username: &str,
    ) -> Result<Option<Credential>, AccountError> {
        Ok(self.there()?.users.get(&(tenant, username.to_lowercase())).cloned())
    }

    async fn user(&self, tenant: TenantId, user: UserId) -> Result<Option<User>, AccountError> {
        Ok(self.there()?.of(tenant, user).ok().map(|at| at.user.clone()))
    }

    async fn users(&self, tenant: TenantId, users: &[UserId]) -> Result<Vec<User>, AccountError> {
        let users: HashSet<_> = users.iter().collect();
        let mut state = self.there()?;
        Ok(users.iter().filter_map(|id| Some(state.of(tenant, **id).ok()?.user.clone())).collect())
    }

    async fn find_users(
        &self,
        tenant: TenantId,
        prefix: &str,
        limit: u16,
    ) -> Result<Vec<User>, AccountError> {
        let (username, name) = (prefix.to_lowercase(), DisplayName::fold(prefix));
        let state = self.there()?;
        let of_tenant = || state.users.iter().filter(|((at, _), _)| *at == tenant);
        let by_username = of_tenant().map(|((_, folded), at)| (folded, at));
        let by_username = by_username.filter(|(folded, _)| folded.starts_with(&username));
        let mut by_name: Vec<_> = of_tenant()
            .filter_map(|((_, folded), at)| Some((at.user.profile.name.as_ref()?, folded, at)))
            .map(|(shown, folded, at)| (shown.folded(), folded, at))
            .filter(|(shown, _, _)| shown.starts_with(&name))
            .collect();
        by_name.sort_by(|a, b| a.0.cmp(&b.0));
        let mut found: BTreeMap<_, _> = by_username.take(limit.into()).collect();
        found.extend(by_name.into_iter().take(limit.into()).map(|(_, folded, at)| (folded, at)));
        Ok(found.into_values().take(limit.into()).map(|at| at.user.clone()).collect())
    }

    async fn set_profile(
        &self,
        tenant: TenantId,
        user: UserId,
        change: ProfileChange,
    ) -> Result<User, AccountError> {
        let mut state = self.there()?;
        if let Some(Some(name)) = &change.name
            && let Some(holder) = state.users.get(&(tenant, name.looks_like()))
            && holder.user.id != user
        {
            return Err(AccountError::NameTaken);
        }
        let account = &mut state.of(tenant, user)?.user;
        if let Some(name) = change.name {
            account.profile.name = name;
        }
        if let Some(about) = change.about {
            account.profile.about = about;
        }
        Ok(account.clone())
    }

    async fn set_password(
        &self,
        tenant: TenantId,
        user: UserId,
        password: String,
    ) -> Result<(), AccountError> {
        let mut state = self.there()?;
        state.of(tenant, user)?.password = Some(password);
        state.revoke_user(tenant, user);
        Ok(())
    }

    async fn set_disabled(
        &self,
        tenant: TenantId,
        user: UserId,
        disabled: bool,
    ) -> Result<(), AccountError> {
        let mut state = self.there()?;
        state.of(tenant, user)?.user.disabled = disabled;
        if disabled {
            state.revoke_user(tenant, user);
        }
        Ok(())
    }

    async fn store_refresh(&self, token: RefreshToken) -> Result<(), AccountError> {
        self.there()?.refresh.insert(token.hash, Stored { token, state: Use::Live });
        Ok(())
    }

    async fn rotate_refresh(
        &self,
        old: SecretHash,
        new: SecretHash,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Rotation, AccountError> {
        let mut state = self.there()?;
        let Some(stored) = state.refresh.get(&old).filter(|at| at.token.expires_at > now) else {
            return Ok(Rotation::Unknown);
        };
        let token = RefreshToken { hash: new, expires_at, ..stored.token.clone() };
        let spent_at = match stored.state {
            Use::Live => now,
            Use::Spent(at) if may_be_shown_again(at, now) => at,
            Use::Spent(_) | Use::Void => {
                state.revoke_family(token.tenant, token.family);
                return Ok(Rotation::Reused { user: token.user, family: token.family });
            }
        };
        for at in state.refresh.values_mut() {
            if (at.token.tenant, at.token.family) == (token.tenant, token.family) {
                at.state = if at.token.hash == old { Use::Spent(spent_at) } else { Use::Void };
            }
        }
        state.refresh.insert(new, Stored { token: token.clone(), state: Use::Live });
        Ok(Rotation::Rotated { token })
    }

    async fn revoke_family(&self, tenant: TenantId, family: Uuid) -> Result<(), AccountError> {
        self.there()?.revoke_family(tenant, family);
        Ok(())
    }

    async fn family_lives(
        &self,
        tenant: TenantId,
        family: Uuid,
        now: Timestamp,
    ) -> Result<bool, AccountError> {
        Ok(self.there()?.refresh.values().any(|at| {
            let same = (at.token.tenant, at.token.family) == (tenant, family);
            same && at.state == Use::Live && at.token.expires_at > now
        }))
    }

    async fn put_ticket(&self, hash: SecretHash, ticket: Ticket) -> Result<(), AccountError> {
        self.there()?.tickets.insert(hash, ticket);
        Ok(())
    }

    async fn take_ticket(
        &self,
        hash: SecretHash,
        now: Timestamp,
    ) -> Result<Option<Ticket>, AccountError> {
        Ok(self.there()?.tickets.remove(&hash).filter(|ticket| ticket.expires_at > now))
    }

    async fn hit(
        &self,
        subject: &str,
        max: u32,
        window: Duration,
        now: Timestamp,
    ) -> Result<Result<(), Duration>, AccountError> {
        let mut state = self.there()?;
        let limit = state
            .limits
            .entry(subject.to_owned())
            .or_insert(Limit { hits: 0, ends_at: after(now, window) });
        if limit.ends_at <= now {
            *limit = Limit { hits: 0, ends_at: after(now, window) };
        }
        limit.hits = limit.hits.saturating_add(1);
        Ok(if limit.hits > max { Err(between(now, limit.ends_at)) } else { Ok(()) })
    }

    async fn fail(
        &self,
        subject: &str,
        rule: LockoutRule,
        now: Timestamp,
    ) -> Result<Failures, AccountError> {
        let mut state = self.there()?;
        let fresh = || Lockout {
            failures: Failures { count: 0, locked_until: None },
            ends_at: after(now, rule.window),
        };
        let at = state.lockouts.entry(subject.to_owned()).or_insert_with(fresh);
        if at.ends_at <= now {
            *at = fresh();
        }
        if at.failures.locked_until.is_none() {
            at.failures.count += 1;
            if at.failures.count >= rule.failures {
                at.ends_at = after(now, rule.rest);
                at.failures.locked_until = Some(at.ends_at);
            }
        }
        Ok(at.failures)
    }

    async fn failures(&self, subject: &str, now: Timestamp) -> Result<Failures, AccountError> {
        let state = self.there()?;
        let counted = state.lockouts.get(subject).filter(|at| at.ends_at > now);
        Ok(counted.map_or(Failures { count: 0, locked_until: None }, |at| at.failures))
    }

    async fn forgive(&self, subject: &str) -> Result<(), AccountError> {
        self.there()?.lockouts.remove(subject);
        Ok(())
    }

    async fn signing_keys(&self, now: Timestamp) -> Result<Vec<SigningKey>, AccountError> {
        Ok(self.there()?.keys(now))
    }

    async fn add_signing_key(
        &self,
        key: SigningKey,
        unless_after: Timestamp,
        others_end_at: Timestamp,
    ) -> Result<Vec<SigningKey>, AccountError> {
        let mut state = self.there()?;
        let now = key.created_at;
        if state.keys.iter().all(|other| other.created_at <= unless_after) {
            for other in state.keys.iter_mut().filter(|other| other.ends_at.is_none()) {
                other.ends_at = Some(others_end_at);
            }
            state.keys.push(key);
        }
        Ok(state.keys(now))
    }

    async fn sweep(&self, now: Timestamp) -> Result<u64, AccountError> {
        let mut guard = self.there()?;
        let state = &mut *guard;
        let count = |state: &State| {
            state.refresh.len()
                + state.tickets.len()
                + state.limits.len()
                + state.lockouts.len()
                + state.keys.len()
        };
        let before = count(state);
        state.refresh.retain(|_, at| at.token.expires_at > now);
        state.tickets.retain(|_, at| at.expires_at > now);
        state.limits.retain(|_, at| at.ends_at > now);
        state.lockouts.retain(|_, at| at.ends_at > now);
        state.keys.retain(|key| key.ends_at.is_none_or(|end| end > now));
        Ok((before - count(state)) as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testkit::accounts_suite;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn accounts_in_memory_pass_the_suite() {
        accounts_suite::all(Arc::new(MemoryAccounts::default())).await;
    }
}
