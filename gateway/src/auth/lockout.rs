//! Failed sign-ins, and whom they lock out.
//!
//! Two counts. One is for a name *from one address*: after a few failures that address has to
//! rest, and the owner of the name, elsewhere, notices nothing; so nobody can lock others out
//! cheaply. The other is for a name from everywhere, twenty times as patient and with a rest of a
//! minute: it only slows a guess that is spread over many addresses. Names that do not exist
//! count alike, so that a lockout tells nothing.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parlance_actors::ports::Accounts;
use parlance_actors::ports::accounts::{Failures, LockoutRule};
use parlance_actors::vocab::{Code, Refusal, TenantId, Timestamp};

use crate::admission::network;
use crate::error::account_refusal;

const EVERYWHERE_FACTOR: u32 = 20;
const EVERYWHERE_REST: Duration = Duration::from_secs(60);

pub(super) struct Lockout {
    accounts: Arc<dyn Accounts>,
    here: LockoutRule,
    everywhere: LockoutRule,
}

/// The two subjects of one attempt.
pub(super) struct Attempt {
    here: String,
    everywhere: String,
}

impl Lockout {
    pub(super) fn new(accounts: Arc<dyn Accounts>, here: LockoutRule) -> Self {
        let everywhere = LockoutRule {
            failures: here.failures.saturating_mul(EVERYWHERE_FACTOR),
            window: here.window,
            rest: EVERYWHERE_REST.min(here.rest),
        };
        Self { accounts, here, everywhere }
    }

    /// Refuses an attempt while its name rests.
    pub(super) async fn admit(
        &self,
        tenant: TenantId,
        name: &str,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<Attempt, Refusal> {
        let everywhere = format!("login/{tenant}/{}", name.to_lowercase());
        let here = format!("{everywhere}@{}", network(from));
        for subject in [&here, &everywhere] {
            let failures = self.accounts.failures(subject, now).await.map_err(account_refusal)?;
            resting(failures, now)?;
        }
        Ok(Attempt { here, everywhere })
    }

    /// Counts a failure, in both places; the refusal says so when it was the last one.
    pub(super) async fn failed(&self, attempt: &Attempt, now: Timestamp) -> Result<(), Refusal> {
        let (here, everywhere) = tokio::try_join!(
            self.accounts.fail(&attempt.here, self.here, now),
            self.accounts.fail(&attempt.everywhere, self.everywhere, now),
        )
        .map_err(account_refusal)?;
        resting(here, now)?;
        resting(everywhere, now)
    }

    /// Forgets the failures from this address. Those from elsewhere were somebody else's.
    pub(super) async fn succeeded(&self, attempt: &Attempt) -> Result<(), Refusal> {
        self.accounts.forgive(&attempt.here).await.map_err(account_refusal)
    }
}

fn resting(failures: Failures, now: Timestamp) -> Result<(), Refusal> {
    let Some(until) = failures.locked_until.filter(|until| *until > now) else { return Ok(()) };
    let wait = Duration::from_millis(until.0.abs_diff(now.0));
    let detail = "too many failed sign-ins; wait before the next one";
    Err(Refusal::new(Code::LockedOut, detail).retry_after(wait))
}
