//! Which web pages may use a credential that the browser sends by itself.
//!
//! `SameSite=Strict` keeps such a credential from pages of other sites; these checks stand beside
//! it, for browsers without it and for neighbours under the same domain.

use http::{HeaderMap, HeaderName, Method, Uri, header};
use parlance_actors::vocab::Refusal;

/// The client says with it that its own code made the request: a page from elsewhere would have to
/// ask for leave first (CORS), and gets none.
const BY_CODE: HeaderName = HeaderName::from_static("x-parlance-client");
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// How a credential came with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// The page's own code gave it: a bearer header, a ticket, a token.
    Explicit,
    /// The browser added it by itself: a cookie. Any page can make it do so.
    Ambient,
}

/// What a request says of the page that it is from.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its target, for the host where no header names it.
    pub uri: &'a Uri,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// It came over TLS, here or at a trusted proxy.
    pub secure: bool,
}

/// Refuses a request with an ambient credential that a page from elsewhere made, or that is to
/// change something and was not made by the client's code. Without `Origin` and `Sec-Fetch-Site`
/// it is not from a page's script, or from an old browser's: then the header alone decides.
///
/// # Errors
/// `forbidden`, with what is missing.
pub fn check(
    asking: Asking<'_>,
    credential: Credential,
    allowed: &[String],
) -> Result<(), Refusal> {
    if credential == Credential::Explicit {
        return Ok(());
    }
    same_origin(asking, allowed)?;
    let is_safe = matches!(*asking.method, Method::GET | Method::HEAD | Method::OPTIONS);
    if is_safe || asking.headers.get(BY_CODE).is_some_and(|value| value == "web") {
        return Ok(());
    }
    let detail = "with a cookie as credential this needs the header x-parlance-client: web";
    Err(Refusal::forbidden(detail))
}

/// The same for a socket: every browser names its page's origin, so without one it is none. What
/// browsers say of the site of a socket differs, and is not asked.
///
/// # Errors
/// `forbidden`, with the origin.
pub fn check_socket(
    asking: Asking<'_>,
    credential: Credential,
    allowed: &[String],
) -> Result<(), Refusal> {
    if credential == Credential::Explicit {
        return Ok(());
    }
    match origin(asking.headers)? {
        Some(origin) if is_ours(asking, origin) || is_listed(origin, allowed) => Ok(()),
        Some(origin) => Err(foreign(origin)),
        None => Err(Refusal::forbidden("with a cookie as credential a socket needs an Origin")),
    }
}

/// Refuses what a page from elsewhere asks for.
///
/// # Errors
/// `forbidden`, with the origin.
pub fn same_origin(asking: Asking<'_>, allowed: &[String]) -> Result<(), Refusal> {
    let origin = origin(asking.headers)?;
    if origin.is_some_and(|origin| is_listed(origin, allowed)) {
        return Ok(());
    }
    if let Some(origin) = origin.filter(|origin| !is_ours(asking, origin)) {
        return Err(foreign(origin));
    }
    let site = asking.headers.get(SITE).map(|site| site.as_bytes());
    match site {
        // `none` is the user's own doing: the address bar, a bookmark.
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err(Refusal::forbidden("pages of other sites may not use this sign-in")),
    }
}

/// The origin of the page. Several, or what is no text, are nobody's.
fn origin(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut values = headers.get_all(header::ORIGIN).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match value.to_str() {
        Ok(origin) if values.next().is_none() => Ok(Some(origin)),
        _ => Err(Refusal::forbidden("Origin is not one origin")),
    }
}

/// It is in the list of the configuration.
pub(crate) fn is_listed(origin: &str, allowed: &[String]) -> bool {
    allowed.iter().any(|one| one.eq_ignore_ascii_case(origin))
}

/// The page is from the host that the request names. Over TLS a page that came without is not: it
/// may be anybody's. The other way round it may be: a proxy that is not trusted may speak TLS.
fn is_ours(asking: Asking<'_>, origin: &str) -> bool {
    let Some((scheme, of_page)) = origin.split_once("://") else { return false };
    let is_https = scheme.eq_ignore_ascii_case("https");
    if !is_https && (asking.secure || !scheme.eq_ignore_ascii_case("http")) {
        return false;
    }
    let of_header = asking.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = of_header.or_else(|| asking.uri.authority().map(http::uri::Authority::as_str));
    let port = if is_https { ":443" } else { ":80" };
    let plain = |host: &str| host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase();
    host.is_some_and(|host| !host.is_empty() && plain(host) == plain(of_page))
}

fn foreign(origin: &str) -> Refusal {
    let origin: String = origin.chars().take(100).collect();
    Refusal::forbidden(format!("pages of {origin} may not use this sign-in"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const LISTED: &str = "https://app.example.org";

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn asking<'a>(method: &'a Method, uri: &'a Uri, headers: &'a HeaderMap) -> Asking<'a> {
        Asking { method, uri, headers, secure: false }
    }

    fn may(pairs: &[(&'static str, &'static str)], method: &Method, secure: bool) -> bool {
        let mut headers = headers(pairs);
        headers.insert("host", HeaderValue::from_static("chat.example.org"));
        let uri = Uri::from_static("/api/me");
        let asking = Asking { secure, ..asking(method, &uri, &headers) };
        check(asking, Credential::Ambient, &[LISTED.into()]).is_ok()
    }

    #[test]
    fn a_foreign_page_may_not_use_what_the_browser_adds_by_itself() {
        let get = |origin| may(&[("origin", origin)], &Method::GET, false);
        for ours in ["https://chat.example.org", "http://chat.example.org", LISTED] {
            assert!(get(ours), "{ours}");
        }
        for foreign in [
            "https://evil.example",
            "null",
            "",
            "https://chat.example.org.evil.example",
            "https://evil.example/https://chat.example.org",
            "https://chat.example.org:8443",
            "ftp://chat.example.org",
            "chat.example.org",
            "http://app.example.org",
        ] {
            assert!(!get(foreign), "{foreign}");
        }
        assert!(
            get("https://CHAT.example.org:443"),
            "a host has no case, and 443 goes without saying"
        );
        assert!(may(&[], &Method::GET, false), "no page");
        let two = [("origin", "https://chat.example.org"), ("origin", "https://evil.example")];
        assert!(!may(&two, &Method::GET, false));
    }

    #[test]
    fn over_tls_a_page_that_came_without_is_foreign() {
        assert!(!may(&[("origin", "http://chat.example.org")], &Method::GET, true));
        assert!(may(&[("origin", "https://chat.example.org")], &Method::GET, true));
    }

    #[test]
    fn a_change_needs_the_header_of_the_clients_code_and_its_own_page() {
        let code = ("x-parlance-client", "web");
        let ours = ("origin", "https://chat.example.org");
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            assert!(may(&[code, ours], &method, true));
            assert!(may(&[code], &method, true), "an old browser");
            assert!(may(&[code, ours, ("sec-fetch-site", "same-origin")], &method, true));
            assert!(!may(&[ours], &method, true));
            assert!(!may(&[ours, ("x-parlance-client", "curl")], &method, true));
            assert!(!may(&[code, ("origin", "https://evil.example")], &method, true));
            for site in ["cross-site", "same-site", "nonsense"] {
                assert!(!may(&[code, ours, ("sec-fetch-site", site)], &method, true), "{site}");
                assert!(!may(&[code, ("sec-fetch-site", site)], &method, true), "{site}");
            }
            let listed = [code, ("origin", LISTED), ("sec-fetch-site", "same-site")];
            assert!(may(&listed, &method, true));
        }
    }

    #[test]
    fn an_explicit_credential_may_be_used_from_anywhere() {
        let (get, uri) = (Method::POST, Uri::from_static("/"));
        let headers = headers(&[("origin", "https://evil.example")]);
        let asking = asking(&get, &uri, &headers);
        check(asking, Credential::Explicit, &[]).expect("its own");
        check_socket(asking, Credential::Explicit, &[]).expect("its own");
    }

    #[test]
    fn a_socket_with_a_cookie_needs_an_origin_of_ours() {
        let (get, uri) = (Method::GET, Uri::from_static("/ws"));
        let may = |pairs: &[(&'static str, &'static str)]| {
            let headers = headers(pairs);
            check_socket(asking(&get, &uri, &headers), Credential::Ambient, &[LISTED.into()])
                .is_ok()
        };
        let host = ("host", "localhost:8080");
        assert!(may(&[host, ("origin", "http://localhost:8080")]));
        assert!(may(&[host, ("origin", LISTED)]));
        assert!(!may(&[host]));
        assert!(!may(&[host, ("origin", "http://localhost:8081")]));
        assert!(!may(&[host, ("origin", "null")]));
        assert!(!may(&[("origin", "http://localhost:8080")]), "no host to compare with");
    }

    #[test]
    fn the_host_may_be_in_the_target() {
        let (get, uri) = (Method::GET, Uri::from_static("https://chat.example.org/api/me"));
        let headers = headers(&[("origin", "https://chat.example.org")]);
        check(asking(&get, &uri, &headers), Credential::Ambient, &[]).expect("the same");
    }
}
