//! The head of an HTTP request: who it is from as proxies say, which page it is from, and the credentials
//! in it.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use parlance_gateway::fuzzing;
use parlance_gateway::origin::{self, Asking, Credential};

use crate::check_reason;

const LISTED: &str = "https://app.example.org";
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// As many as hyper takes.
const HEADERS_MAX: usize = 100;

/// The first byte says what there is to say besides headers: TLS (1), and a method that changes something
/// (2). The others are lines of headers; those that no server would take are left out.
pub fn head(bytes: &[u8]) {
    let Some((flags, lines)) = bytes.split_first() else { return };
    let secure = flags & 1 != 0;
    let method = if flags & 2 == 0 { Method::GET } else { Method::POST };
    let headers = read(lines);
    forwarded(&headers, secure);
    pages(&headers, secure, &method);
    cookies(&headers, secure);
    credentials(&headers);
}

fn read(lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let lines = lines.split(|byte| *byte == b'\n').take(HEADERS_MAX);
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (HeaderName::from_bytes(&line[..colon]), &line[colon + 1..]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.trim_ascii())) {
            headers.append(name, value);
        }
    }
    headers
}

/// Nobody but a trusted proxy says whom a request is from, and what it adds last goes before everything
/// that was there.
fn forwarded(headers: &HeaderMap, tls: bool) {
    let trusted =
        ["10.0.0.0/8".parse().expect("a network"), "fd00::/8".parse().expect("a network")];
    assert_eq!(fuzzing::client(STRANGER, tls, &trusted, headers), (STRANGER, tls, false));
    let (address, _, behind_proxy) = fuzzing::client(PROXY, tls, &trusted, headers);
    assert!(behind_proxy && address == address.to_canonical());
    let mut longer = headers.clone();
    longer.append("x-forwarded-for", HeaderValue::from_static("203.0.113.9"));
    longer.append("x-forwarded-proto", HeaderValue::from_static("https"));
    let client = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
    assert_eq!(fuzzing::client(PROXY, tls, &trusted, &longer), (client, true, true));
    longer.append("x-forwarded-for", HeaderValue::from_static("10.9.9.9"));
    assert_eq!(fuzzing::client(PROXY, tls, &trusted, &longer), (client, true, true));
}

/// What the browser adds by itself works for pages of the host and of the list, and for no others.
fn pages(headers: &HeaderMap, secure: bool, method: &Method) {
    let (uri, allowed) = (Uri::from_static("/api/me"), [LISTED.to_owned()]);
    let asking = Asking { method, uri: &uri, headers, secure };
    let may = |credential| origin::check(asking, credential, &allowed);
    let may_open = |credential| origin::check_socket(asking, credential, &allowed);
    assert!(may(Credential::Explicit).is_ok() && may_open(Credential::Explicit).is_ok());
    let origins = headers.get_all(header::ORIGIN).iter().count();
    let is_ours = origins == 1 && is_ours(headers, secure);
    match may_open(Credential::Ambient) {
        Ok(()) => assert!(is_ours),
        Err(refusal) => check_reason(&refusal.detail),
    }
    match may(Credential::Ambient) {
        Ok(()) => {
            assert!(is_ours || origins == 0);
            assert!(method == Method::GET || headers["x-parlance-client"] == "web");
        }
        Err(refusal) => check_reason(&refusal.detail),
    }
}

/// Said another way than the server does: the origin is the listed one, or the host's with its scheme.
fn is_ours(headers: &HeaderMap, secure: bool) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = text(header::ORIGIN).map(str::to_ascii_lowercase) else { return false };
    let Some(host) = text(header::HOST).map(str::to_ascii_lowercase) else {
        return origin == LISTED;
    };
    let schemes: &[(&str, &str)] =
        if secure { &[("https://", ":443")] } else { &[("https://", ":443"), ("http://", ":80")] };
    let of_host = schemes.iter().any(|(scheme, port)| {
        let without = |text: &str| text.strip_suffix(port).unwrap_or(text).to_owned();
        let page = origin.strip_prefix(scheme).map(without);
        !host.is_empty() && page == Some(without(&host))
    });
    of_host || origin == LISTED
}

/// A token is in a cookie of its name, and one that differs beside it makes both worth nothing.
fn cookies(headers: &HeaderMap, secure: bool) {
    for (is_refresh, name) in [(false, "parlance-access"), (true, "parlance-refresh")] {
        let Some(token) = fuzzing::cookie(headers, is_refresh, secure) else { continue };
        let name = if secure { format!("__Host-{name}") } else { name.to_owned() };
        assert!(!token.is_empty());
        let lines = headers.get_all(header::COOKIE).iter();
        let mut lines = lines.map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned());
        assert!(lines.any(|line| line.contains(&name) && line.contains(&token)), "{token}");
        let mut two = headers.clone();
        let other = HeaderValue::from_str(&format!("{name}=another")).expect("a header");
        two.append(header::COOKIE, other);
        let read = fuzzing::cookie(&two, is_refresh, secure);
        assert_eq!(read, (token == "another").then_some(token));
    }
}

fn credentials(headers: &HeaderMap) {
    match fuzzing::bearer(headers) {
        Ok(None) => assert!(!headers.contains_key(header::AUTHORIZATION)),
        Ok(Some(token)) => {
            let scheme = &headers[header::AUTHORIZATION].as_bytes()[..7];
            assert!(scheme.eq_ignore_ascii_case(b"bearer "), "{scheme:?}");
            assert_eq!(token, token.trim());
        }
        Err(refusal) => check_reason(&refusal.detail),
    }
    match fuzzing::key(headers, None) {
        Ok(key) => {
            let mut same = HeaderMap::new();
            same.insert("idempotency-key", key.to_string().parse().expect("a header"));
            assert_eq!(fuzzing::key(&same, Some(key.0)), Ok(key));
        }
        Err(refusal) => check_reason(&refusal.detail),
    }
}
