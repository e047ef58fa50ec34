//! Signing in and out: register, login, refresh, logout, tickets, password changes.
//!
//! A refresh token gives one successor that works. Its holder may lose the answer, so until the
//! successor is shown, and for some minutes at most, it gives another one and the former is void.
//! Whoever shows a void or an older token ends the sign-in: it was somebody else's by then.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parlance_actors::ports::Accounts;
use parlance_actors::ports::accounts::{NewUser, RefreshToken, Rotation, Ticket};
use parlance_actors::vocab::{Code, Refusal, TenantId, Timestamp, User, UserId, Username};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::bearer::{Bearer, Revoked, SignIns, Watched, over};
use super::keys::{KeyError, Keys};
use super::lockout::Lockout;
use super::passwords::{Passwords, check_rules};
use super::secret::ClusterSecret;
use super::tokens::{self, SignIn};
use crate::admission::network;
use crate::config::{GatewayConfig, Lifetimes, Rates};
use crate::error::account_refusal;
use crate::limits::{NAME_BYTES_MAX, PASSWORD_CHARS_MAX, TOKEN_BYTES_MAX};

/// The window of the limits on registering and signing in.
const MINUTE: Duration = Duration::from_secs(60);

/// Everything about signing in.
pub(crate) struct Auth {
    accounts: Arc<dyn Accounts>,
    keys: Keys,
    passwords: Passwords,
    sign_ins: SignIns,
    lockout: Lockout,
    lifetimes: Lifetimes,
    rates: Rates,
    registration: bool,
}

/// An access token and the refresh token for the next pair, and whose they are.
pub(crate) struct Pair {
    pub(crate) user: User,
    pub(crate) access: String,
    pub(crate) expires_in: Duration,
    pub(crate) refresh: Zeroizing<String>,
}

impl Auth {
    pub(crate) async fn open(
        accounts: Arc<dyn Accounts>,
        secret: ClusterSecret,
        config: &GatewayConfig,
    ) -> Result<Self, KeyError> {
        Ok(Self {
            keys: Keys::open(accounts.clone(), secret, config.lifetimes).await?,
            passwords: Passwords::new(config.passwords).await,
            sign_ins: SignIns::new(accounts.clone(), config.lifetimes.sign_in_cache),
            lockout: Lockout::new(accounts.clone(), config.lockout),
            lifetimes: config.lifetimes,
            rates: config.rates,
            registration: config.registration,
            accounts,
        })
    }

    /// Keeps the signing keys fresh until it is told to stop.
    pub(crate) async fn keep(&self, stop: CancellationToken) {
        self.keys.keep(stop).await;
    }

    pub(crate) async fn register(
        &self,
        tenant: TenantId,
        from: IpAddr,
        username: &str,
        password: Zeroizing<String>,
    ) -> Result<User, Refusal> {
        if !self.registration {
            return Err(Refusal::forbidden("registration is switched off; ask an administrator"));
        }
        // What breaks a rule is told for free, so that a slip does not cost one of a few tries.
        let username = Username::register(username)?;
        check_rules(&password)?;
        let now = Timestamp::now();
        self.limit("register", from, self.rates.register_per_minute, now).await?;
        let password = self.passwords.hash(password).await?;
        let id = UserId::generate();
        let new = NewUser { tenant, id, username, password: Some(password), admin: false, at: now };
        self.accounts.create_user(new).await.map_err(account_refusal)
    }

    pub(crate) async fn login(
        &self,
        tenant: TenantId,
        from: IpAddr,
        username: &str,
        password: Zeroizing<String>,
    ) -> Result<Pair, Refusal> {
        check_name(username)?;
        let now = Timestamp::now();
        self.limit("login", from, self.rates.login_per_minute, now).await?;
        if password.chars().count() > PASSWORD_CHARS_MAX {
            return Err(wrong());
        }
        let attempt = self.lockout.admit(tenant, username, from, now).await?;
        let found = self.accounts.credential(tenant, username).await.map_err(account_refusal)?;
        let (user, phc) = found.map_or((None, None), |found| (Some(found.user), found.password));
        let fits = self.passwords.verify(password, phc.clone()).await?;
        let Some(user) = user.filter(|_| fits) else {
            self.lockout.failed(&attempt, now).await?;
            return Err(wrong());
        };
        // Said only to who knows the password.
        if user.disabled {
            return Err(Refusal::forbidden("this account may not sign in; ask an administrator"));
        }
        self.lockout.succeeded(&attempt).await?;
        self.begin(&user, phc.as_deref()).await
    }

    /// A new sign-in of a user whose password was `phc` when it was checked. Checking takes a
    /// while; if the password was changed or the account disabled meanwhile, what revoked the
    /// sign-ins of before did not see this one, so it is looked at again once it is stored.
    async fn begin(&self, user: &User, phc: Option<&str>) -> Result<Pair, Refusal> {
        let now = Timestamp::now();
        let (refresh, hash) = tokens::opaque();
        let token = RefreshToken {
            hash,
            family: Uuid::now_v7(),
            tenant: user.tenant,
            user: user.id,
            device: None,
            expires_at: later(now, self.lifetimes.refresh),
        };
        self.accounts.store_refresh(token.clone()).await.map_err(account_refusal)?;
        let name = user.username.as_str();
        let again = self.accounts.credential(user.tenant, name).await.map_err(account_refusal)?;
        let is_current = again.is_some_and(|a| !a.user.disabled && a.password.as_deref() == phc);
        if !is_current {
            let revoked = self.accounts.revoke_family(user.tenant, token.family).await;
            revoked.map_err(account_refusal)?;
            return Err(wrong());
        }
        self.pair(user.clone(), &token, refresh, now)
    }

    pub(crate) async fn refresh(&self, refresh: &str) -> Result<Pair, Refusal> {
        check_token("refresh_token", refresh)?;
        let now = Timestamp::now();
        let (next, next_hash) = tokens::opaque();
        let expires_at = later(now, self.lifetimes.refresh);
        let rotation = self
            .accounts
            .rotate_refresh(tokens::hash(refresh), next_hash, now, expires_at)
            .await
            .map_err(account_refusal)?;
        match rotation {
            Rotation::Rotated { token } => {
                let user = self.accounts.user(token.tenant, token.user).await;
                let user = user.map_err(account_refusal)?;
                let user = user.filter(|user| !user.disabled).ok_or_else(over)?;
                self.pair(user, &token, next, now)
            }
            Rotation::Reused { user, family } => {
                tracing::warn!(%user, %family, "a refresh token that is not valid any more was shown; the sign-in is revoked");
                // The tenant is not in the answer; every node has only the main one until tenants come.
                self.sign_ins.revoke(Revoked::Family(TenantId::MAIN, family));
                Err(over())
            }
            Rotation::Unknown => Err(unknown_refresh()),
        }
    }

    /// Ends a sign-in everywhere. Sockets on this node close at once.
    pub(crate) async fn logout(&self, bearer: &Bearer) -> Result<(), Refusal> {
        let (tenant, family) = (bearer.caller.tenant, bearer.family);
        self.accounts.revoke_family(tenant, family).await.map_err(account_refusal)?;
        self.sign_ins.revoke(Revoked::Family(tenant, family));
        Ok(())
    }

    /// The same, by the refresh token: it is spent, and then its whole sign-in revoked.
    pub(crate) async fn logout_by_refresh(&self, refresh: &str) -> Result<(), Refusal> {
        check_token("refresh_token", refresh)?;
        let (now, (_, next)) = (Timestamp::now(), tokens::opaque());
        let spent = self.accounts.rotate_refresh(tokens::hash(refresh), next, now, now).await;
        let (tenant, family) = match spent.map_err(account_refusal)? {
            Rotation::Rotated { token } => (token.tenant, token.family),
            // Showing a spent one has revoked it already.
            Rotation::Reused { family, .. } => (TenantId::MAIN, family),
            Rotation::Unknown => return Err(unknown_refresh()),
        };
        self.accounts.revoke_family(tenant, family).await.map_err(account_refusal)?;
        self.sign_ins.revoke(Revoked::Family(tenant, family));
        Ok(())
    }

    /// Sets another password. Every sign-in of the user ends, and the caller gets a new one.
    pub(crate) async fn change_password(
        &self,
        bearer: &Bearer,
        from: IpAddr,
        old: Zeroizing<String>,
        new: Zeroizing<String>,
    ) -> Result<Pair, Refusal> {
        let (tenant, now) = (bearer.caller.tenant, Timestamp::now());
        let name = &bearer.caller.username;
        check_rules(&new)?;
        self.limit("login", from, self.rates.login_per_minute, now).await?;
        let attempt = self.lockout.admit(tenant, name, from, now).await?;
        let found = self.accounts.credential(tenant, name).await.map_err(account_refusal)?;
        let found = found.filter(|found| found.user.id == bearer.caller.user).ok_or_else(over)?;
        if !self.passwords.verify(old, found.password).await? {
            self.lockout.failed(&attempt, now).await?;
            return Err(Refusal::forbidden("old_password is wrong"));
        }
        let phc = self.passwords.hash(new).await?;
        let set = self.accounts.set_password(tenant, found.user.id, phc.clone()).await;
        set.map_err(account_refusal)?;
        self.sign_ins.revoke(Revoked::User(tenant, found.user.id));
        self.begin(&found.user, Some(&phc)).await
    }

    /// A ticket that opens one socket.
    pub(crate) async fn ticket(
        &self,
        bearer: &Bearer,
    ) -> Result<(Zeroizing<String>, Duration), Refusal> {
        let (text, hash) = tokens::opaque();
        let ticket = Ticket {
            tenant: bearer.caller.tenant,
            user: bearer.caller.user,
            family: bearer.family,
            device: bearer.caller.device,
            expires_at: later(Timestamp::now(), self.lifetimes.ticket),
        };
        self.accounts.put_ticket(hash, ticket).await.map_err(account_refusal)?;
        Ok((text, self.lifetimes.ticket))
    }

    pub(crate) async fn take_ticket(&self, ticket: &str) -> Result<Bearer, Refusal> {
        check_token("ticket", ticket)?;
        let taken = self.accounts.take_ticket(tokens::hash(ticket), Timestamp::now()).await;
        let Some(ticket) = taken.map_err(account_refusal)? else {
            let detail = "ticket is not known, was used or has run out; get another one";
            return Err(Refusal::new(Code::Unauthenticated, detail));
        };
        let Ticket { tenant, user, family, device, .. } = ticket;
        self.sign_ins.bearer(SignIn { tenant, user, family, device }).await
    }

    /// The caller of an access token.
    pub(crate) async fn bearer(&self, token: &str) -> Result<Bearer, Refusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(bad_access_token());
        }
        let who = self.keys.verify(token).await.ok_or_else(bad_access_token)?;
        self.sign_ins.bearer(who).await
    }

    /// Whether an open socket's sign-in still lives.
    pub(crate) async fn recheck(&self, bearer: &Bearer) -> Result<Bearer, Refusal> {
        let caller = &bearer.caller;
        let who = SignIn {
            tenant: caller.tenant,
            user: caller.user,
            family: bearer.family,
            device: caller.device,
        };
        self.sign_ins.bearer(who).await
    }

    /// Tells a socket when its sign-in is ended on this node.
    pub(crate) fn watch(&self, bearer: &Bearer) -> Watched {
        self.sign_ins.watch(bearer)
    }

    async fn limit(
        &self,
        what: &str,
        from: IpAddr,
        max: u32,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if max == 0 {
            return Ok(());
        }
        let subject = format!("{what}/{}", network(from));
        let hit = self.accounts.hit(&subject, max, MINUTE, now).await.map_err(account_refusal)?;
        hit.map_err(|wait| {
            let detail = format!("more than {max} a minute from this address");
            Refusal::new(Code::RateLimited, detail).retry_after(wait)
        })
    }

    fn pair(
        &self,
        of: User,
        token: &RefreshToken,
        refresh: Zeroizing<String>,
        now: Timestamp,
    ) -> Result<Pair, Refusal> {
        let RefreshToken { tenant, user, family, device, .. } = *token;
        let who = SignIn { tenant, user, family, device };
        let signed = self.keys.sign(who, now, later(now, self.lifetimes.access));
        let access = signed.map_err(|error| {
            tracing::error!(%error, "an access token could not be signed");
            Refusal::internal()
        })?;
        Ok(Pair { user: of, access, expires_in: self.lifetimes.access, refresh })
    }
}

fn later(now: Timestamp, by: Duration) -> Timestamp {
    Timestamp(now.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
}

/// One answer for an unknown name and a wrong password.
fn wrong() -> Refusal {
    Refusal::new(Code::Unauthenticated, "username or password is wrong")
}

fn unknown_refresh() -> Refusal {
    let detail = "refresh_token is not known or has run out; sign in again";
    Refusal::new(Code::Unauthenticated, detail)
}

fn bad_access_token() -> Refusal {
    Refusal::new(Code::Unauthenticated, "the access token is not valid or has run out; refresh it")
}

/// Names are looked up in the database as they are, so what it cannot hold is refused here.
pub(crate) fn check_name(name: &str) -> Result<(), Refusal> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(Refusal::bad_request(format!(
            "username has {} bytes; allowed are 1 to {NAME_BYTES_MAX}",
            name.len()
        )));
    }
    if name.chars().any(char::is_control) {
        return Err(Refusal::bad_request("username holds a control character"));
    }
    Ok(())
}

fn check_token(field: &'static str, token: &str) -> Result<(), Refusal> {
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
        let detail = format!("{field} has {} bytes; give the one that you got", token.len());
        return Err(Refusal::bad_request(detail));
    }
    Ok(())
}
