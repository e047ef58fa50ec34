//! The shapes of tokens: signed access tokens (JWT), and opaque secrets for refreshes and tickets.
//!
//! Access tokens are HS256 and nothing else. Everyone who verifies one is a node, which may sign
//! as well, so a public key would bring nothing; a MAC costs a microsecond where Ed25519 costs
//! fifty, on every request and every socket.

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use parlance_actors::ports::accounts::SecretHash;
use parlance_actors::vocab::{DeviceId, TenantId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

pub(super) const ALGORITHM: Algorithm = Algorithm::HS256;
const ISSUER: &str = "parlance";
/// Nodes' clocks differ by a little.
const LEEWAY_SECONDS: u64 = 5;

/// What an access token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    /// The user.
    pub(super) sub: Uuid,
    /// The tenant.
    pub(super) tid: u32,
    /// The sign-in.
    pub(super) sid: Uuid,
    /// The device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) did: Option<Uuid>,
    pub(super) iat: i64,
    pub(super) exp: i64,
}

/// Whose sign-in a token is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SignIn {
    pub(crate) tenant: TenantId,
    pub(crate) user: UserId,
    pub(crate) family: Uuid,
    pub(crate) device: Option<DeviceId>,
}

pub(super) fn sign(
    key: Uuid,
    secret: &EncodingKey,
    who: SignIn,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<String, jsonwebtoken::errors::Error> {
    let claims = Claims {
        iss: ISSUER.to_owned(),
        sub: who.user.0,
        tid: who.tenant.0,
        sid: who.family,
        did: who.device.map(|device| device.0),
        iat: now.0.div_euclid(1_000),
        exp: expires_at.0.div_euclid(1_000),
    };
    let header = Header { kid: Some(key.to_string()), ..Header::new(ALGORITHM) };
    jsonwebtoken::encode(&header, &claims, secret)
}

/// The id of the key that a token says it is signed with.
pub(crate) fn key_of(token: &str) -> Option<Uuid> {
    let header = jsonwebtoken::decode_header(token).ok()?;
    (header.alg == ALGORITHM).then_some(())?;
    Uuid::try_parse(&header.kid?).ok()
}

pub(crate) fn verify(token: &str, secret: &DecodingKey) -> Option<SignIn> {
    let mut validation = Validation::new(ALGORITHM);
    validation.leeway = LEEWAY_SECONDS;
    validation.validate_nbf = true;
    validation.set_issuer(&[ISSUER]);
    validation.set_required_spec_claims(&["exp", "iss", "sub"]);
    let claims = jsonwebtoken::decode::<Claims>(token, secret, &validation).ok()?.claims;
    Some(SignIn {
        tenant: TenantId(claims.tid),
        user: UserId(claims.sub),
        family: claims.sid,
        device: claims.did.map(DeviceId),
    })
}

/// A secret of 256 bits for its holder, and the hash that the database keeps.
pub(super) fn opaque() -> (Zeroizing<String>, SecretHash) {
    let mut bytes = Zeroizing::new([0; 32]);
    rand::fill(&mut bytes[..]).expect("the system has random numbers");
    let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(&bytes[..]));
    let hash = hash(&text);
    (text, hash)
}

/// What the database knows a secret by. Without salt: 256 random bits need none.
pub(super) fn hash(text: &str) -> SecretHash {
    let mut hash = SecretHash([0; 32]);
    hash.0.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who() -> SignIn {
        SignIn {
            tenant: TenantId::MAIN,
            user: UserId::generate(),
            family: Uuid::now_v7(),
            device: None,
        }
    }

    fn token(secret: &[u8], lasts_ms: i64) -> (String, SignIn) {
        let (who, now) = (who(), Timestamp::now());
        let until = Timestamp(now.0 + lasts_ms);
        let key = EncodingKey::from_secret(secret);
        (sign(Uuid::now_v7(), &key, who, now, until).expect("signed"), who)
    }

    #[test]
    fn a_token_is_accepted_with_its_own_key_until_it_ends() {
        let (text, who) = token(&[1; 32], 60_000);
        assert_eq!(verify(&text, &DecodingKey::from_secret(&[1; 32])), Some(who));
        assert_eq!(verify(&text, &DecodingKey::from_secret(&[2; 32])), None);
        let (ended, _) = token(&[1; 32], -60_000);
        assert_eq!(verify(&ended, &DecodingKey::from_secret(&[1; 32])), None);
    }

    #[test]
    fn no_other_algorithm_is_accepted() {
        let key = EncodingKey::from_secret(&[1; 32]);
        let claims = Claims {
            iss: ISSUER.into(),
            sub: Uuid::nil(),
            tid: 1,
            sid: Uuid::nil(),
            did: None,
            iat: 0,
            exp: i64::from(i32::MAX),
        };
        let header = Header { kid: Some(Uuid::nil().to_string()), ..Header::new(Algorithm::HS512) };
        let other = jsonwebtoken::encode(&header, &claims, &key).expect("signed");
        assert_eq!(key_of(&other), None);
        assert_eq!(verify(&other, &DecodingKey::from_secret(&[1; 32])), None);
        let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJpc3MiOiJwYXJsYW5jZSJ9.";
        assert_eq!(key_of(none), None);
    }

    /// What somebody writes who has a key of ours, or tries to look like it.
    fn forged(claims: &serde_json::Value) -> Option<SignIn> {
        let header = Header { kid: Some(Uuid::nil().to_string()), ..Header::new(ALGORITHM) };
        let key = EncodingKey::from_secret(&[1; 32]);
        let text = jsonwebtoken::encode(&header, claims, &key).expect("signed");
        verify(&text, &DecodingKey::from_secret(&[1; 32]))
    }

    #[test]
    fn a_token_for_others_or_without_an_end_is_refused() {
        let id = Uuid::now_v7();
        let fine = serde_json::json!({
            "iss": ISSUER, "sub": id, "tid": 1, "sid": id, "iat": 0, "exp": i32::MAX,
        });
        assert!(forged(&fine).is_some());
        for (name, value) in [
            ("aud", serde_json::json!("somebody-else")),
            ("aud", serde_json::json!(["parlance", "somebody-else"])),
            ("iss", serde_json::json!("somebody-else")),
            ("iss", serde_json::json!(null)),
            ("exp", serde_json::json!(1_000)),
            ("exp", serde_json::json!(-1)),
            ("exp", serde_json::json!("never")),
            ("exp", serde_json::json!(null)),
            ("nbf", serde_json::json!(i32::MAX)),
            ("sub", serde_json::json!("ann")),
            ("sid", serde_json::json!(null)),
            ("tid", serde_json::json!(-1)),
        ] {
            let mut claims = fine.clone();
            claims[name] = value.clone();
            assert_eq!(forged(&claims), None, "{name}: {value}");
        }
    }
}
