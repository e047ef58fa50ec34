//! The two cookies of a browser's sign-in: what they are called, what a browser may do with them,
//! and how they are read. What is in them is `auth`'s business, and who may use them `origin`'s.

use std::time::Duration;

use cookie::{Cookie, SameSite};
use http::{HeaderMap, HeaderValue, header};
use zeroize::Zeroizing;

use crate::auth::Pair;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// Opens everything for a short time.
    Access,
    /// Gives the next two.
    Refresh,
}

impl Token {
    /// Browsers take a name with this prefix only over TLS, from the host itself and for all its
    /// paths (RFC 6265bis, section 4.1.3), so neither somebody on the network nor a neighbour under
    /// the same domain can put one there.
    const fn name(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Self::Access, true) => "__Host-parlance-access",
            (Self::Access, false) => "parlance-access",
            (Self::Refresh, true) => "__Host-parlance-refresh",
            (Self::Refresh, false) => "parlance-refresh",
        }
    }

    /// Without the prefix the refresh token is only sent where it is asked for.
    const fn path(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Self::Access, _) | (Self::Refresh, true) => "/",
            (Self::Refresh, false) => "/api/auth",
        }
    }
}

/// The token that a browser sent. Two that differ are none: one of them is not from here, and
/// nothing says which.
pub(crate) fn read(headers: &HeaderMap, token: Token, secure: bool) -> Option<Zeroizing<String>> {
    let mut found: Option<Zeroizing<String>> = None;
    for line in headers.get_all(header::COOKIE) {
        // Others on the same host may have set cookies that are no text.
        let line = Zeroizing::new(String::from_utf8_lossy(line.as_bytes()).into_owned());
        for cookie in Cookie::split_parse(line.as_str()).flatten() {
            if cookie.name() != token.name(secure) {
                continue;
            }
            if found.as_ref().is_some_and(|other| other.as_str() != cookie.value()) {
                return None;
            }
            found = Some(Zeroizing::new(cookie.value().to_owned()));
        }
    }
    found.filter(|value| !value.is_empty())
}

/// Gives a browser the tokens of a sign-in.
pub(crate) fn set(headers: &mut HeaderMap, pair: &Pair, refresh_lasts: Duration, secure: bool) {
    put(headers, Token::Access, &pair.access, pair.expires_in, secure);
    put(headers, Token::Refresh, &pair.refresh, refresh_lasts, secure);
}

/// Takes them from it.
pub(crate) fn clear(headers: &mut HeaderMap, secure: bool) {
    put(headers, Token::Access, "", Duration::ZERO, secure);
    put(headers, Token::Refresh, "", Duration::ZERO, secure);
}

fn put(headers: &mut HeaderMap, token: Token, value: &str, lasts: Duration, secure: bool) {
    let lasts = i64::try_from(lasts.as_secs()).unwrap_or(i64::MAX);
    let cookie = Cookie::build((token.name(secure), value))
        .path(token.path(secure))
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(secure)
        .max_age(cookie::time::Duration::seconds(lasts));
    let cookie = Zeroizing::new(cookie.to_string());
    let mut value = HeaderValue::from_str(&cookie).expect("tokens are base64 and dots");
    value.set_sensitive(true);
    headers.append(header::SET_COOKIE, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(lines: &[&'static [u8]], secure: bool) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, HeaderValue::from_bytes(line).expect("a header"));
        }
        read(&headers, Token::Access, secure).map(|token| token.to_string())
    }

    #[test]
    fn a_token_is_found_among_what_others_put_there() {
        for lines in [
            vec![&b"parlance-access=abc"[..]],
            vec![b"a=1; parlance-access=abc; b=\"x; y\""],
            vec![b"a=1", b"parlance-access=abc"],
            vec![b"=; ;;;novalue; parlance-access=abc"],
            vec![b"name=\xff\xfe; parlance-access=abc"],
            vec![b"parlance-access=abc; parlance-access=abc"],
            vec![b"Parlance-Access=other; parlance-access=abc"],
        ] {
            assert_eq!(sent(&lines, false).as_deref(), Some("abc"), "{lines:?}");
        }
    }

    #[test]
    fn what_is_doubtful_is_no_token() {
        for lines in [
            vec![],
            vec![&b"parlance-access="[..]],
            vec![b"parlance-access"],
            vec![b"parlance-access=abc; parlance-access=xyz"],
            vec![b"parlance-access=abc", b"parlance-access=xyz"],
            vec![b"x-parlance-access=abc"],
        ] {
            assert_eq!(sent(&lines, false), None, "{lines:?}");
        }
    }

    #[test]
    fn over_tls_only_names_with_a_prefix_count_and_without_only_plain_ones() {
        let both = b"parlance-access=plain; __Host-parlance-access=prefixed";
        assert_eq!(sent(&[both], true).as_deref(), Some("prefixed"));
        assert_eq!(sent(&[both], false).as_deref(), Some("plain"));
        assert_eq!(sent(&[b"parlance-access=plain"], true), None);
    }
}
