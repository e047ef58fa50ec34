//! The plain address that answers everything with the way to HTTPS, and serves nothing: not even
//! health, which is asked for where the server is.

use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::Bytes;

/// A host name is no longer (RFC 1035, section 2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// Where HTTPS is.
#[derive(Debug)]
pub(super) struct Redirect {
    /// Its port, as clients reach it.
    pub(super) port: u16,
}

impl Redirect {
    /// 308, which keeps method and body, to the host that was asked for. A client without a
    /// plain host name gets 400.
    pub(super) fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let location = host(request).and_then(|host| self.location(host, request.uri()));
        let mut response = Response::new(Full::default());
        let (status, body) = match &location {
            Some(_) => (StatusCode::PERMANENT_REDIRECT, &b""[..]),
            None => (StatusCode::BAD_REQUEST, NO_HOST),
        };
        let headers = response.headers_mut();
        if let Some(location) = location {
            headers.insert(header::LOCATION, location);
        } else {
            let json = HeaderValue::from_static("application/json");
            headers.insert(header::CONTENT_TYPE, json);
        }
        // A browser that kept it would be wrong for ever once the server goes without TLS.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        *response.status_mut() = status;
        *response.body_mut() = Full::new(Bytes::from_static(body));
        metrics::counter!("parlance_redirects_total").increment(1);
        response
    }

    fn location(&self, host: &str, uri: &Uri) -> Option<HeaderValue> {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        // `OPTIONS *` has no place to go to.
        let path = if path.starts_with('/') { path } else { "/" };
        let port = if self.port == 443 { String::new() } else { format!(":{}", self.port) };
        HeaderValue::from_str(&format!("https://{host}{port}{path}")).ok()
    }
}

const NO_HOST: &[u8] =
    b"{\"code\":\"bad_request\",\"detail\":\"Host must be a host's name, and HTTPS is spoken here\"}";

/// The host that was asked for, without its port, if it is a name or an address and nothing else: it
/// goes into the answer.
fn host<B>(request: &Request<B>) -> Option<&str> {
    let mut named = request.headers().get_all(header::HOST).iter();
    let host = match (request.uri().authority(), named.next(), named.next()) {
        (Some(authority), _, None) => authority.as_str(),
        (None, Some(host), None) => host.to_str().ok()?,
        _ => return None,
    };
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        _ => host,
    };
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok().then_some(host);
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let fine = (1..=HOST_BYTES_MAX).contains(&host.len()) && host.bytes().all(allowed);
    fine.then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(port: u16, uri: &str, hosts: &[&str]) -> Result<String, u16> {
        let mut request = Request::builder().uri(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        let response = Redirect { port }.answer(&request.body(()).expect("a request"));
        match response.headers().get("location") {
            Some(location) => {
                assert_eq!(response.status(), 308);
                Ok(location.to_str().expect("text").to_owned())
            }
            None => Err(response.status().as_u16()),
        }
    }

    #[test]
    fn the_same_place_over_https() {
        for (port, uri, host, location) in [
            (443, "/r/1?a=b", "chat.example.org", "https://chat.example.org/r/1?a=b"),
            (443, "/", "chat.example.org:80", "https://chat.example.org/"),
            (8443, "/", "chat.example.org:8080", "https://chat.example.org:8443/"),
            (
                443,
                "//evil.example/x",
                "chat.example.org",
                "https://chat.example.org//evil.example/x",
            ),
            (8443, "/", "[2001:db8::1]:80", "https://[2001:db8::1]:8443/"),
            (443, "*", "chat.example.org", "https://chat.example.org/"),
            (443, "http://chat.example.org:80/x", "other", "https://chat.example.org/x"),
        ] {
            assert_eq!(to(port, uri, &[host]).as_deref(), Ok(location));
        }
    }

    #[test]
    fn what_is_no_host_leads_nowhere() {
        let long = "a".repeat(HOST_BYTES_MAX + 1);
        for host in
            ["", "a b", "user@evil.example", "a/b", "a\\b", "a?b", "a#b", "[::1", "[x]", "ä", &long]
        {
            assert_eq!(to(443, "/", &[host]), Err(400), "{host}");
        }
        assert_eq!(to(443, "/", &[]), Err(400));
        assert_eq!(to(443, "/", &["a.example", "b.example"]), Err(400));
        assert_eq!(to(443, "http://user@evil.example/", &["a.example"]), Err(400));
    }

    #[test]
    fn the_refusal_is_an_error_of_the_protocol() {
        serde_json::from_slice::<parlance_protocol::http::ErrorBody<'_>>(NO_HOST).expect("JSON");
    }
}
