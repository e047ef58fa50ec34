//! Who a request is from: the peer of the connection, or what trusted proxies say of it.
//! A header from anybody else changes nothing.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

/// The proxies whose headers are believed.
pub(crate) struct Proxies(Vec<IpNet>);

/// Who a request is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    /// The address that limits and logs name.
    pub(crate) address: IpAddr,
    /// It came over TLS, here or at a trusted proxy.
    pub(crate) secure: bool,
    /// A trusted proxy stands between.
    pub(crate) behind_proxy: bool,
}

impl Proxies {
    pub(crate) fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        is_in(&self.0, address)
    }

    /// Walks `X-Forwarded-For` from the right, past trusted hops, to the first that is not one.
    pub(crate) fn client(&self, peer: IpAddr, tls: bool, headers: &HeaderMap) -> Client {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return Client { address: peer, secure: tls, behind_proxy: false };
        }
        let mut address = peer;
        for hop in hops(headers).rev() {
            let Some(hop) = hop.and_then(parse) else { break };
            address = hop;
            if !self.trusts(address) {
                break;
            }
        }
        let proto = headers.get_all("x-forwarded-proto").iter().next_back();
        let proto = proto.and_then(|value| value.to_str().ok()?.rsplit(',').next());
        let secure = proto.map_or(tls, |proto| proto.trim().eq_ignore_ascii_case("https"));
        Client { address, secure, behind_proxy: true }
    }
}

/// Whether an address is in one of these networks.
pub(crate) fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// The hops in the order in which they were added, `None` for what is no text.
fn hops(headers: &HeaderMap) -> impl DoubleEndedIterator<Item = Option<&str>> {
    let values: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    values.into_iter().flat_map(|value| match value.to_str() {
        Ok(text) => text.split(',').map(|hop| Some(hop.trim())).collect::<Vec<_>>(),
        Err(_) => vec![None],
    })
}

/// An address, in brackets or with a port as some proxies write it.
fn parse(hop: &str) -> Option<IpAddr> {
    let plain = hop.parse::<IpAddr>().ok();
    let with_port = || hop.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    plain.or_else(with_port).or_else(bracketed).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&str]) -> IpAddr {
        let proxies = Proxies::new(vec!["10.0.0.0/8".parse().expect("a network")]);
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().expect("a header"));
        }
        proxies.client(peer.parse().expect("an address"), false, &headers).address
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_forged_header_from_an_untrusted_peer_changes_nothing() {
        assert_eq!(client("192.0.2.1", &["203.0.113.5"]), ip("192.0.2.1"));
    }

    #[test]
    fn the_last_hop_that_is_not_trusted_is_the_client() {
        assert_eq!(client("10.0.0.1", &["203.0.113.5"]), ip("203.0.113.5"));
        assert_eq!(client("10.0.0.1", &["1.1.1.1, 203.0.113.5, 10.2.2.2"]), ip("203.0.113.5"));
        assert_eq!(client("10.0.0.1", &["1.1.1.1", "203.0.113.5"]), ip("203.0.113.5"));
        assert_eq!(client("10.0.0.1", &["nonsense"]), ip("10.0.0.1"));
        assert_eq!(client("10.0.0.1", &["1.1.1.1, nonsense, 10.2.2.2"]), ip("10.2.2.2"));
        assert_eq!(client("::ffff:10.0.0.1", &["[2001:db8::1]:443"]), ip("2001:db8::1"));
    }

    #[test]
    fn the_scheme_is_believed_from_trusted_peers_only() {
        let proxies = Proxies::new(vec!["10.0.0.0/8".parse().expect("a network")]);
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-proto", http::HeaderValue::from_static("https"));
        assert!(proxies.client(ip("10.0.0.1"), false, &headers).secure);
        assert!(!proxies.client(ip("192.0.2.1"), false, &headers).secure);
    }
}
