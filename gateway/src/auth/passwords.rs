//! Passwords: the rules, and argon2id on blocking threads with a bound on how many at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use parlance_actors::vocab::Refusal;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

use crate::config::PasswordCost;
use crate::limits::{PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN};

/// Hashes and checks passwords, never on an async thread.
pub(crate) struct Passwords {
    argon: Argon2<'static>,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
    /// What a sign-in with an unknown name is checked against, so that it takes as long.
    nobody: Arc<str>,
}

impl Passwords {
    pub(crate) async fn new(cost: PasswordCost) -> Self {
        let argon = argon(cost);
        let hasher = argon.clone();
        let nobody = tokio::task::spawn_blocking(move || {
            hash(&hasher, &uuid::Uuid::new_v4().to_string()).into()
        });
        Self {
            argon,
            turns: Arc::new(Semaphore::new(cost.at_once)),
            waiting: AtomicUsize::new(0),
            waiting_max: cost.waiting_max,
            nobody: nobody.await.expect("hashing does not panic"),
        }
    }

    /// The PHC string of a new password.
    pub(crate) async fn hash(&self, password: Zeroizing<String>) -> Result<String, Refusal> {
        let turn = self.turn().await?;
        let argon = self.argon.clone();
        let hashing = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            hash(&argon, &password)
        });
        hashing.await.map_err(|error| defect(&error))
    }

    /// Whether the password is the one of `phc`. Without one (no such account, or one of a
    /// directory service) the answer is no and takes as long.
    pub(crate) async fn verify(
        &self,
        password: Zeroizing<String>,
        phc: Option<String>,
    ) -> Result<bool, Refusal> {
        let turn = self.turn().await?;
        let argon = self.argon.clone();
        let nobody = self.nobody.clone();
        let verifying = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let known = phc.is_some();
            let phc = phc.as_deref().unwrap_or(&nobody);
            // Checked in every case, so that no answer is faster than another.
            let fits = PasswordHash::new(phc)
                .is_ok_and(|phc| argon.verify_password(password.as_bytes(), &phc).is_ok());
            known && fits
        });
        let fits = verifying.await.map_err(|error| defect(&error))?;
        metrics::counter!("parlance_passwords_checked_total").increment(1);
        Ok(fits)
    }

    /// The permit goes into the blocking call: a client that hangs up frees no turn early.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        if let Ok(turn) = self.turns.clone().try_acquire_owned() {
            return Ok(turn);
        }
        let _waiting = Waiting::enter(&self.waiting, self.waiting_max)
            .ok_or_else(|| Refusal::busy("too many sign-ins at once; try again in a moment"))?;
        Ok(self.turns.clone().acquire_owned().await.expect("the semaphore is never closed"))
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize, max: usize) -> Option<Self> {
        if count.fetch_add(1, Ordering::Relaxed) < max {
            return Some(Self(count));
        }
        count.fetch_sub(1, Ordering::Relaxed);
        None
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The PHC string of a password, for the first administrator. Blocks for tens of milliseconds.
#[must_use]
pub fn hash_password(cost: PasswordCost, password: &str) -> String {
    hash(&argon(cost), password)
}

fn argon(cost: PasswordCost) -> Argon2<'static> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, None)
        .expect("the configuration was checked");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash(argon: &Argon2<'_>, password: &str) -> String {
    let phc: PasswordHash =
        argon.hash_password(password.as_bytes()).expect("a password of any length can be hashed");
    phc.to_string()
}

fn defect(error: &tokio::task::JoinError) -> Refusal {
    tracing::error!(%error, "a password hash ended without an answer");
    Refusal::internal()
}

/// The rules for a new password: 8 to 128 characters with an upper-case letter, a lower-case
/// letter and a digit.
pub(super) fn check_rules(password: &str) -> Result<(), Refusal> {
    let length = password.chars().count();
    if !(PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&length) {
        return Err(Refusal::bad_request(format!(
            "password has {length} characters; allowed are {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX}"
        )));
    }
    let missing: Vec<&str> = [
        (password.chars().any(char::is_uppercase), "an upper-case letter"),
        (password.chars().any(char::is_lowercase), "a lower-case letter"),
        (password.chars().any(char::is_numeric), "a digit"),
    ]
    .into_iter()
    .filter_map(|(there, what)| (!there).then_some(what))
    .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Refusal::bad_request(format!("password lacks {}", missing.join(" and "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: PasswordCost =
        PasswordCost { memory_kib: 8, passes: 1, lanes: 1, at_once: 1, waiting_max: 0 };

    #[test]
    fn the_rules_name_what_a_password_lacks() {
        check_rules("Sommer2026").expect("fine");
        for (password, why) in [
            ("Ab1", "3 characters"),
            ("abcdefg1", "an upper-case letter"),
            ("ABCDEFG1", "a lower-case letter"),
            ("Abcdefgh", "a digit"),
        ] {
            let refusal = check_rules(password).expect_err(password);
            assert!(refusal.detail.contains(why), "{refusal}");
        }
        check_rules(&format!("Aa1{}", "x".repeat(126))).expect_err("129 characters");
    }

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let passwords = Passwords::new(CHEAP).await;
        let phc = passwords.hash("One".to_owned().into()).await.expect("hashed");
        assert!(phc.starts_with("$argon2id$"), "{phc}");
        let verify = |password: &str, phc: Option<&str>| {
            passwords.verify(password.to_owned().into(), phc.map(str::to_owned))
        };
        assert!(verify("One", Some(&phc)).await.expect("checked"));
        assert!(!verify("Two", Some(&phc)).await.expect("checked"));
        assert!(!verify("One", None).await.expect("checked"));
        assert!(!verify("One", Some("not a hash")).await.expect("checked"));
    }

    #[tokio::test]
    async fn one_more_than_may_wait_is_told_that_it_is_busy() {
        let passwords = Passwords::new(CHEAP).await;
        let _turn = passwords.turn().await.expect("the only turn");
        let refusal = passwords.hash("One".to_owned().into()).await.expect_err("nobody may wait");
        assert_eq!(refusal.code, parlance_actors::vocab::Code::Busy);
    }
}
