//! What may be ordered at an ACME server, and what that needs beside it.

use figment::Figment;
use figment::value::Value;

use super::{Faults, described, each};
use crate::config::sources::Place;

/// A certificate has no more names at Let's Encrypt.
const DOMAINS_MAX: usize = 100;
/// A name, whole, and each of its parts (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;
/// RFC 5321, section 4.5.3.1.3, without the angle brackets.
const EMAIL_BYTES_MAX: usize = 254;

/// Checks the section as a whole.
pub(super) fn together(figment: &Figment, faults: &mut Faults) {
    let domains = "acme.domains";
    let mut fault = |key: &str, what: String| {
        let about = figment.find_metadata(key);
        let place = about.map(|about| about.name.to_string()).unwrap_or_default();
        faults.add(Place(place), key, what);
    };
    let value = |key: &str| figment.find_value(key).ok();
    let agreed = value("acme.terms_agreed").and_then(|value| value.to_bool()).unwrap_or_default();
    if !figment.contains(domains) {
        let has_contact =
            matches!(value("acme.contact"), Some(Value::Array(_, items)) if !items.is_empty());
        for (key, is_set) in [
            ("acme.terms_agreed", agreed),
            ("acme.contact", has_contact),
            ("acme.ca", figment.contains("acme.ca")),
        ] {
            if is_set {
                fault(key, format!("needs {domains} beside it"));
            }
        }
        return;
    }
    if !agreed {
        let what = "needs acme.terms_agreed = true beside it, by which you agree to the terms of \
                    service of the server at acme.directory";
        fault(domains, what.to_owned());
    }
    for key in ["http.tls_cert", "http.tls_key"] {
        if figment.contains(key) {
            let what = format!(
                "is set, and so is {domains}: the certificate comes from files or is ordered; set \
                 only one of them"
            );
            fault(key, what);
        }
    }
    if figment.contains("cluster.cert") {
        let what = "is for a node that is alone: of several behind one name, the one that is asked \
                    for the proof may be another one than ordered it. Set http.tls_cert and \
                    http.tls_key on each node, or end TLS at the balancer";
        fault(domains, what.to_owned());
    }
}

/// Whether a certificate for these names can be had by TLS-ALPN-01; if not, what is wrong.
pub(super) fn domains(value: &Value) -> Result<(), String> {
    each(
        value,
        "a host name such as chat.example.com, in ASCII (xn--… for others) and without a port; \
         TLS-ALPN-01 proves neither wildcards nor IP addresses",
        is_domain,
    )?;
    let Value::Array(_, items) = value else { return Ok(()) };
    let mut names =
        items.iter().filter_map(Value::as_str).map(str::to_ascii_lowercase).collect::<Vec<_>>();
    if !(1..=DOMAINS_MAX).contains(&names.len()) {
        return Err(format!("must name 1 to {DOMAINS_MAX} hosts, and names {}", names.len()));
    }
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("names {} twice", described(&Value::from(pair[0].as_str())))),
        None => Ok(()),
    }
}

/// Letters, digits and hyphens, in parts; the last one is no number, as that of an address is.
fn is_domain(name: &str) -> bool {
    let is_label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= NAME_BYTES_MAX
        && name.split('.').all(is_label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// One address, without anything that a `mailto:` URL could say more (RFC 8555, section 7.3).
pub(super) fn is_email(text: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_graphic() && !b"@,?:<>".contains(&byte))
    };
    text.len() <= EMAIL_BYTES_MAX
        && text.split_once('@').is_some_and(|(user, host)| plain(user) && plain(host))
}

/// Scheme, host, perhaps a port, and a path; no user.
pub(super) fn is_https_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://") else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    !host.is_empty() && !host.contains('@') && rest.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_can_be_proven_are_taken_and_others_are_not() {
        let long = format!("{}.example", "a".repeat(64));
        let longer = ["abcdefgh"; 30].join(".");
        for name in
            ["chat.example.com", "CHAT.example.com", "xn--bcher-kva.example", "localhost", "1.a"]
        {
            assert!(is_domain(name), "{name}");
        }
        for name in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "*.example.com",
            "192.0.2.1",
            "::1",
            "[::1]",
            "bücher.example",
            "a:443",
            "https://a",
            "a b",
            "-a.example",
            "a-.example",
            "a_b.example",
            &long,
            &longer,
        ] {
            assert!(!is_domain(name), "{name}");
        }
    }

    #[test]
    fn addresses_and_urls_that_mean_something_else_are_not_taken() {
        for text in ["admin@example.com", "a+b@c"] {
            assert!(is_email(text), "{text}");
        }
        for text in
            ["", "a", "@b", "a@", "mailto:a@b", "a@b,c@d", "a@b?subject=x", "a b@c", "a@b@c"]
        {
            assert!(!is_email(text), "{text}");
        }
        for text in ["https://ca.example", "https://ca.example:14000/dir", "https://[::1]/dir"] {
            assert!(is_https_url(text), "{text}");
        }
        for text in [
            "",
            "http://ca.example",
            "https://",
            "https:///dir",
            "https://u:p@ca.example",
            "https://a b",
        ] {
            assert!(!is_https_url(text), "{text}");
        }
    }
}
