//! From an access token to a caller, and whether the sign-in behind it still lives.
//!
//! The database is asked at most every ten seconds for each sign-in. What this node itself
//! revokes is known here at once, and open sockets are told.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;
use parking_lot::Mutex;
use parlance_actors::ports::Accounts;
use parlance_actors::session::Caller;
use parlance_actors::vocab::{Code, DeviceId, Refusal, TenantId, Timestamp, User, UserId};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use uuid::Uuid;

use super::tokens::SignIn;
use crate::error::account_refusal;
use crate::limits::SIGN_INS_MAX;

/// Who shows a credential: the caller for the domain, and the sign-in it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Bearer {
    pub(crate) caller: Caller,
    pub(crate) family: Uuid,
}

/// What this node revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Revoked {
    /// One sign-in.
    Family(TenantId, Uuid),
    /// All sign-ins of a user.
    User(TenantId, UserId),
}

/// The open sockets of a sign-in, told together that it is over.
struct Sockets {
    user: UserId,
    over: CancellationToken,
    count: usize,
}

type Open = Arc<Mutex<HashMap<(TenantId, Uuid), Sockets>>>;

/// One open socket's interest in its sign-in.
pub(crate) struct Watched {
    open: Open,
    of: (TenantId, Uuid),
    over: CancellationToken,
}

impl Watched {
    /// Ends when this node revokes the sign-in.
    pub(crate) fn over(&self) -> WaitForCancellationFutureOwned {
        self.over.clone().cancelled_owned()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        // After a revocation the entry may be a newer one, or none.
        if let Some(sockets) = open.get_mut(&self.of)
            && !self.over.is_cancelled()
        {
            sockets.count -= 1;
            if sockets.count == 0 {
                open.remove(&self.of);
            }
        }
    }
}

struct Known {
    /// `None`: the sign-in is over, or the user may not sign in.
    user: Option<Arc<User>>,
    of: UserId,
    at: Instant,
}

pub(super) struct SignIns {
    accounts: Arc<dyn Accounts>,
    known: Mutex<LruCache<(TenantId, Uuid), Known>>,
    /// For how long an answer of the database holds.
    remember: Duration,
    open: Open,
}

impl SignIns {
    pub(super) fn new(accounts: Arc<dyn Accounts>, remember: Duration) -> Self {
        let places = NonZeroUsize::new(SIGN_INS_MAX).expect("more than none");
        Self { accounts, known: Mutex::new(LruCache::new(places)), remember, open: Open::default() }
    }

    pub(super) fn watch(&self, bearer: &Bearer) -> Watched {
        let of = (bearer.caller.tenant, bearer.family);
        let fresh =
            || Sockets { user: bearer.caller.user, over: CancellationToken::new(), count: 0 };
        let mut open = self.open.lock();
        let sockets = open.entry(of).or_insert_with(fresh);
        sockets.count += 1;
        Watched { open: self.open.clone(), of, over: sockets.over.clone() }
    }

    /// Forgets what it knows and tells the open sockets. Call it after the database was changed.
    pub(super) fn revoke(&self, what: Revoked) {
        match what {
            Revoked::Family(tenant, family) => self.end((tenant, family)),
            Revoked::User(tenant, user) => {
                let known: Vec<_> = {
                    let known = self.known.lock();
                    let theirs =
                        known.iter().filter(|(of, known)| (of.0, known.of) == (tenant, user));
                    theirs.map(|(of, _)| *of).collect()
                };
                let open: Vec<_> = {
                    let open = self.open.lock();
                    let theirs =
                        open.iter().filter(|(of, sockets)| (of.0, sockets.user) == (tenant, user));
                    theirs.map(|(of, _)| *of).collect()
                };
                known.into_iter().chain(open).for_each(|of| self.end(of));
            }
        }
    }

    fn end(&self, of: (TenantId, Uuid)) {
        self.known.lock().pop(&of);
        if let Some(sockets) = self.open.lock().remove(&of) {
            sockets.over.cancel();
        }
    }

    /// The caller of a sign-in that lives.
    pub(super) async fn bearer(&self, who: SignIn) -> Result<Bearer, Refusal> {
        let user = match self.remembered(who) {
            Some(user) => user,
            None => self.ask(who).await?,
        };
        let user = user.ok_or_else(over)?;
        Ok(Bearer { caller: caller(&user, who.device), family: who.family })
    }

    fn remembered(&self, who: SignIn) -> Option<Option<Arc<User>>> {
        let mut known = self.known.lock();
        let known = known.get(&(who.tenant, who.family))?;
        (known.of == who.user && known.at.elapsed() < self.remember).then(|| known.user.clone())
    }

    async fn ask(&self, who: SignIn) -> Result<Option<Arc<User>>, Refusal> {
        let at = Instant::now();
        let (lives, user) = tokio::try_join!(
            self.accounts.family_lives(who.tenant, who.family, Timestamp::now()),
            self.accounts.user(who.tenant, who.user),
        )
        .map_err(account_refusal)?;
        let user = user.filter(|user| lives && !user.disabled).map(Arc::new);
        let known = Known { user: user.clone(), of: who.user, at };
        self.known.lock().put((who.tenant, who.family), known);
        Ok(user)
    }
}

pub(super) fn caller(user: &User, device: Option<DeviceId>) -> Caller {
    Caller {
        tenant: user.tenant,
        user: user.id,
        username: user.username.shared(),
        device,
        admin: user.admin,
    }
}

pub(super) fn over() -> Refusal {
    Refusal::new(Code::Unauthenticated, "the sign-in is over; sign in again")
}
