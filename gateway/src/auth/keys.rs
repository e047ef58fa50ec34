//! The keys that sign access tokens: read from the database, made and rotated by a loop of their
//! own. A new key is published before it signs and an old one is kept until its tokens have run
//! out, so that a rotation signs nobody out.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use jsonwebtoken::{DecodingKey, EncodingKey};
use parking_lot::{Mutex, RwLock};
use parlance_actors::ports::accounts::SigningKey;
use parlance_actors::ports::{AccountError, Accounts};
use parlance_actors::vocab::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::secret::ClusterSecret;
use super::tokens::{self, SignIn};
use crate::config::Lifetimes;

const PURPOSE: &str = "signing-keys";
/// A token with an unknown key makes the keys be read again, at most this often.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// Why there are no signing keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Nothing was changed; retry when the database is back.
    #[error(transparent)]
    Accounts(#[from] AccountError),
    /// The database has keys that this node's cluster secret does not open. Retrying does not help.
    #[error(
        "no signing key in the database can be opened: the cluster secret is not the one that sealed them"
    )]
    Sealed,
}

struct Key {
    id: Uuid,
    created_at: Timestamp,
    signs_from: Timestamp,
    ends_at: Option<Timestamp>,
    signs: EncodingKey,
    verifies: DecodingKey,
}

/// The keys of this moment.
pub(super) struct Keys {
    accounts: Arc<dyn Accounts>,
    secret: ClusterSecret,
    lifetimes: Lifetimes,
    /// Newest first.
    ring: RwLock<Arc<[Key]>>,
    read_at: Mutex<Instant>,
}

impl Keys {
    /// Reads the keys and makes the first one if there is none.
    pub(super) async fn open(
        accounts: Arc<dyn Accounts>,
        secret: ClusterSecret,
        lifetimes: Lifetimes,
    ) -> Result<Self, KeyError> {
        let ring = RwLock::new(Arc::from([]));
        let keys = Self { accounts, secret, lifetimes, ring, read_at: Mutex::new(Instant::now()) };
        keys.turn_over().await?;
        Ok(keys)
    }

    /// Reads and rotates until it is told to stop. Owns the decision to go on after a failure:
    /// the keys in memory are good for a long time.
    pub(super) async fn keep(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.lifetimes.key_reload) => {}
            }
            if let Err(error) = self.turn_over().await {
                tracing::warn!(%error, "signing keys could not be read or rotated; trying again");
            }
            match self.accounts.sweep(Timestamp::now()).await {
                Ok(rows) => tracing::debug!(rows, "swept what has run out"),
                Err(error) => tracing::warn!(%error, "what has run out could not be swept"),
            }
        }
    }

    /// Reads the keys, and adds one when the newest is old or none signs yet.
    async fn turn_over(&self) -> Result<(), KeyError> {
        let now = Timestamp::now();
        let found = self.accounts.signing_keys(now).await?;
        let newest = found.iter().max_by_key(|key| key.created_at);
        let found = match newest {
            Some(newest) if now.0 < newest.created_at.0 + ms(self.lifetimes.signing_key) => found,
            Some(newest) => {
                let unless_after = newest.created_at;
                self.add(now, Timestamp(now.0 + ms(self.lifetimes.key_ahead)), unless_after).await?
            }
            None => self.add(now, now, Timestamp(0)).await?,
        };
        let ring: Arc<[Key]> = found.into_iter().filter_map(|key| self.unseal(key)).collect();
        if ring.is_empty() {
            return Err(KeyError::Sealed);
        }
        *self.ring.write() = ring;
        *self.read_at.lock() = Instant::now();
        Ok(())
    }

    async fn add(
        &self,
        now: Timestamp,
        signs_from: Timestamp,
        unless_after: Timestamp,
    ) -> Result<Vec<SigningKey>, AccountError> {
        let id = Uuid::now_v7();
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(&mut bytes[..]).expect("the system has random numbers");
        let sealed = self.secret.seal(PURPOSE, id.as_bytes(), &bytes[..]);
        let key = SigningKey { id, sealed, created_at: now, signs_from, ends_at: None };
        // The old key signs until `signs_from`; a node may notice one reload later.
        let ends = ms(self.lifetimes.access) + 2 * ms(self.lifetimes.key_reload) + 60_000;
        let others_end_at = Timestamp(signs_from.0 + ends);
        tracing::info!(key = %id, "a new signing key");
        self.accounts.add_signing_key(key, unless_after, others_end_at).await
    }

    fn unseal(&self, key: SigningKey) -> Option<Key> {
        let Some(bytes) = self.secret.open(PURPOSE, key.id.as_bytes(), &key.sealed) else {
            tracing::error!(key = %key.id, "a signing key was sealed with another cluster secret");
            return None;
        };
        Some(Key {
            id: key.id,
            created_at: key.created_at,
            signs_from: key.signs_from,
            ends_at: key.ends_at,
            signs: EncodingKey::from_secret(&bytes),
            verifies: DecodingKey::from_secret(&bytes),
        })
    }

    /// Signs an access token with the newest key that has begun, or else the oldest.
    pub(super) fn sign(
        &self,
        who: SignIn,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let ring = self.ring.read().clone();
        let begun = ring.iter().filter(|key| key.signs_from <= now);
        let key = begun
            .max_by_key(|key| key.created_at)
            .or_else(|| ring.iter().min_by_key(|key| key.created_at))
            .expect("the ring is never empty after it was opened");
        tokens::sign(key.id, &key.signs, who, now, expires_at)
    }

    /// Whose token it is; `None` when it is not one of ours or has run out. A key that this node
    /// has not read yet, because another node just made it, is looked for.
    pub(super) async fn verify(&self, token: &str) -> Option<SignIn> {
        let id = tokens::key_of(token)?;
        if let Some(known) = self.verify_with(id, token) {
            return known;
        }
        let due = {
            let mut read_at = self.read_at.lock();
            let due = read_at.elapsed() >= READ_AGAIN;
            if due {
                *read_at = Instant::now();
            }
            due
        };
        if !due {
            return None;
        }
        if let Err(error) = self.turn_over().await {
            tracing::warn!(%error, "signing keys could not be read");
        }
        self.verify_with(id, token).flatten()
    }

    fn verify_with(&self, id: Uuid, token: &str) -> Option<Option<SignIn>> {
        let ring = self.ring.read().clone();
        let now = Timestamp::now();
        let key = ring.iter().find(|key| key.id == id)?;
        if key.ends_at.is_some_and(|end| end <= now) {
            return Some(None);
        }
        Some(tokens::verify(token, &key.verifies))
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}
