//! A signed request (RFC 8555, section 6.2): flattened JSON with ES256, read and checked.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Signed {
    protected: String,
    payload: String,
    signature: String,
}

/// What the signature covers beside the payload.
#[derive(Deserialize)]
pub(crate) struct Protected {
    alg: String,
    pub(crate) nonce: String,
    pub(crate) url: String,
    pub(crate) jwk: Option<Key>,
    pub(crate) kid: Option<String>,
}

/// An account's public key (RFC 7517), on P-256.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Key {
    kty: String,
    crv: String,
    x: String,
    y: String,
}

impl Key {
    /// RFC 7638, in base64url.
    pub(crate) fn thumbprint(&self) -> String {
        let Self { kty, crv, x, y } = self;
        let canonical = format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}","y":"{y}"}}"#);
        URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
    }

    fn point(&self) -> Option<Vec<u8>> {
        let part = |text: &str| URL_SAFE_NO_PAD.decode(text).ok().filter(|part| part.len() == 32);
        let is_p256 = self.kty == "EC" && self.crv == "P-256";
        is_p256.then_some([&[4][..], &part(&self.x)?, &part(&self.y)?].concat())
    }
}

/// A request that was read, and not yet checked.
pub(crate) struct Request {
    pub(crate) protected: Protected,
    /// `None` for a POST that only reads.
    pub(crate) payload: Option<Value>,
    signed: String,
    signature: Vec<u8>,
}

impl Request {
    /// # Errors
    /// What is malformed.
    pub(crate) fn read(body: &[u8]) -> Result<Self, String> {
        let Signed { protected, payload, signature } =
            serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let signed = format!("{protected}.{payload}");
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|error| error.to_string());
        let payload = decode(&payload)?;
        let payload = (!payload.is_empty()).then(|| serde_json::from_slice(&payload)).transpose();
        let protected = serde_json::from_slice::<Protected>(&decode(&protected)?);
        let protected = protected.map_err(|error| error.to_string())?;
        if protected.alg != "ES256" {
            return Err(format!("{} is not ES256", protected.alg));
        }
        if protected.jwk.is_some() == protected.kid.is_some() {
            return Err("there must be one of jwk and kid".to_owned());
        }
        let signature = decode(&signature)?;
        Ok(Self { protected, payload: payload.map_err(|e| e.to_string())?, signed, signature })
    }

    /// Whether the holder of this key has signed it.
    pub(crate) fn is_signed_by(&self, key: &Key) -> bool {
        key.point().is_some_and(|point| {
            let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
            key.verify(self.signed.as_bytes(), &self.signature).is_ok()
        })
    }
}
