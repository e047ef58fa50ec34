//! `Accept-Encoding` (RFC 9110, section 12.5.3): which of the forms at hand a client likes best.

use http::{HeaderMap, header};

/// What a body may be encoded with here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Br,
    Gzip,
    Identity,
}

impl Encoding {
    /// As `Content-Encoding` names it.
    pub(super) const fn name(self) -> Option<&'static str> {
        match self {
            Self::Br => Some("br"),
            Self::Gzip => Some("gzip"),
            Self::Identity => None,
        }
    }

    fn is_called(self, name: &str) -> bool {
        match self {
            Self::Br => name.eq_ignore_ascii_case("br"),
            Self::Gzip => name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip"),
            Self::Identity => name.eq_ignore_ascii_case("identity"),
        }
    }
}

/// The best of `offered`, the first of those that are liked the same; `None` if all are refused.
pub(super) fn best(headers: &HeaderMap, offered: &[Encoding]) -> Option<Encoding> {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let text: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
    let wishes: Vec<_> = text.iter().flat_map(|text| text.split(',')).filter_map(wish).collect();
    let weight = |encoding: Encoding| {
        let named = wishes.iter().find(|(name, _)| encoding.is_called(name));
        let any = || wishes.iter().find(|(name, _)| *name == "*");
        match named.or_else(any) {
            Some((_, weight)) => *weight,
            // Not named, it is acceptable, and liked least.
            None if encoding == Encoding::Identity => 1,
            None => 0,
        }
    };
    let mut best = None;
    for encoding in offered {
        let weight = weight(*encoding);
        if weight > 0 && best.is_none_or(|(_, most)| weight > most) {
            best = Some((*encoding, weight));
        }
    }
    best.map(|(encoding, _)| encoding)
}

/// A name and its weight in thousandths. What cannot be read is left out: it is a preference only.
fn wish(text: &str) -> Option<(&str, u32)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let mut weight = 1_000;
    for part in parts {
        if let Some((key, value)) = part.split_once('=')
            && key.trim().eq_ignore_ascii_case("q")
        {
            weight = thousandths(value.trim())?;
        }
    }
    Some((name, weight))
}

/// `0.8` is 800 (RFC 9110, section 12.4.2: at most three digits).
fn thousandths(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_plain = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    let part: u32 = format!("{part:0<3}").parse().ok().filter(|_| is_plain)?;
    match whole {
        "0" => Some(part),
        "1" if part == 0 => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accept: &'static str) -> Option<Encoding> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, http::HeaderValue::from_static(accept));
        best(&headers, &[Encoding::Br, Encoding::Gzip, Encoding::Identity])
    }

    #[test]
    fn the_weights_decide_and_then_our_order() {
        for (accept, encoding) in [
            ("gzip, deflate, br, zstd", Some(Encoding::Br)),
            ("br;q=0.5, gzip;q=0.8", Some(Encoding::Gzip)),
            ("br;q=0, gzip", Some(Encoding::Gzip)),
            ("GZIP", Some(Encoding::Gzip)),
            ("*", Some(Encoding::Br)),
            ("*;q=0.1, identity", Some(Encoding::Identity)),
            ("identity;q=0.5, *;q=0", Some(Encoding::Identity)),
            ("gzip;q=0.001", Some(Encoding::Gzip)),
            ("deflate", Some(Encoding::Identity)),
            ("", Some(Encoding::Identity)),
            ("br;q=nonsense, gzip;q=7", Some(Encoding::Identity)),
            ("br ; q=1.000 , gzip", Some(Encoding::Br)),
            ("*;q=0", None),
            ("identity;q=0, br;q=0", None),
        ] {
            assert_eq!(chosen(accept), encoding, "{accept}");
        }
        assert_eq!(
            best(&HeaderMap::new(), &[Encoding::Br, Encoding::Identity]),
            Some(Encoding::Identity)
        );
    }
}
