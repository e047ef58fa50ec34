//! Access tokens: what is let in is signed with the secret, says everything that it must, and nothing is
//! let in by another algorithm.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parlance_gateway::fuzzing;
use serde_json::Value;
use uuid::Uuid;

/// What the tokens of the corpus are signed with.
pub const SECRET: [u8; 32] = [7; 32];
/// When this was written, in seconds: a token that ended before is over whenever this runs.
const LONG_AGO: f64 = 1_790_000_000.0;

/// The bytes are a token; or, with a line break in them, a header and claims that somebody signs who has
/// the secret.
pub fn token(bytes: &[u8]) {
    match bytes.iter().position(|byte| *byte == b'\n') {
        None => {
            if let Ok(text) = std::str::from_utf8(bytes) {
                check(text);
            }
        }
        Some(end) => {
            let text = signed(&bytes[..end], &bytes[end + 1..]);
            check(&text);
            // The same without its signature, and with another one.
            let (unsigned, _) = text.rsplit_once('.').expect("it has three parts");
            assert_eq!(fuzzing::verify(&format!("{unsigned}."), &SECRET), None);
            assert_eq!(fuzzing::verify(&text, &[8; 32]), None);
        }
    }
}

/// A token of this header and these claims, as [`SECRET`] signs it.
#[must_use]
pub fn signed(header: &[u8], claims: &[u8]) -> String {
    let unsigned = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, &SECRET);
    let signature = hmac::sign(&key, unsigned.as_bytes());
    format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn check(text: &str) {
    let key = fuzzing::key_of(text);
    // Without the id of a key the server looks for none.
    let who = key.and_then(|_| fuzzing::verify(text, &SECRET));
    let parts: Vec<&str> = text.split('.').collect();
    if let Some(key) = key
        && let Some(header) = json(parts[0])
    {
        assert_eq!(header["alg"], "HS256");
        let said = header["kid"].as_str().and_then(|kid| Uuid::try_parse(kid).ok());
        assert_eq!(said, Some(key));
    }
    let Some((tenant, user, sign_in)) = who else { return };
    let [header, claims, signature] = parts[..] else { panic!("{} parts", parts.len()) };
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    let mac = hmac::Key::new(hmac::HMAC_SHA256, &SECRET);
    let unsigned = &text[..header.len() + 1 + claims.len()];
    hmac::verify(&mac, unsigned.as_bytes(), &signature).expect("it is signed with the secret");
    let Some(claims) = json(claims) else { return };
    assert_eq!(claims["iss"], "parlance");
    assert_eq!(claims["tid"], tenant.0);
    let id = |name: &str| claims[name].as_str().and_then(|id| Uuid::try_parse(id).ok());
    assert_eq!((id("sub"), id("sid")), (Some(user.0), Some(sign_in)));
    assert!(claims["exp"].as_f64().is_some_and(|end| end > LONG_AGO), "{claims}");
    assert!(claims.get("aud").is_none_or(Value::is_null), "{claims}");
}

/// What a part says. `None` where what the server does not look at is no JSON, such as text that is no UTF-8 or
/// a number that is too large: it takes no notice of it.
fn json(part: &str) -> Option<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64");
    serde_json::from_slice(&bytes).ok()
}
