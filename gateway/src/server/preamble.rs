//! The PROXY protocol, version 2: a header before the first byte of a connection, in which a
//! balancer that passes bytes says who the client is. It is read from trusted networks only, and
//! there it must come. Version 1, a line of text, is refused. Of what else the header carries, one bit
//! is read: whether the client spoke TLS to the balancer.

use std::io;
use std::net::IpAddr;

use proxy_header::{ParseConfig, ProxyHeader, Tlv};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::limits::PROXY_HEADER_BYTES_MAX;

/// Signature, version and command, family, length.
const FIXED: usize = 16;
const VERSION_1: &[u8] = b"PROXY ";

/// For whom the proxy has opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    /// It came over TLS, which the proxy has ended.
    pub(crate) secure: bool,
}

/// Why a connection is closed instead.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoHeader {
    /// A look whether something listens, or a client that went.
    #[error("it ended before its PROXY header")]
    Ended(#[from] io::Error),
    #[error("its PROXY header is of version 1; have it send version 2")]
    Version1,
    #[error("its PROXY header is over {PROXY_HEADER_BYTES_MAX} bytes")]
    TooLong,
    #[error("it does not begin with a PROXY header of version 2")]
    Malformed,
}

/// Reads the header and nothing after it. `None` when the proxy speaks for itself, as for its health
/// checks, or does not say for whom.
///
/// # Errors
/// [`NoHeader`]; the connection must be closed.
pub(crate) async fn read<I: AsyncRead + Unpin>(io: &mut I) -> Result<Option<Client>, NoHeader> {
    let mut bytes = [0; PROXY_HEADER_BYTES_MAX];
    // A line of version 1 may be shorter than the fixed part, and is told apart by its start.
    let start = VERSION_1.len();
    io.read_exact(&mut bytes[..start]).await?;
    if &bytes[..start] == VERSION_1 {
        return Err(NoHeader::Version1);
    }
    io.read_exact(&mut bytes[start..FIXED]).await?;
    let rest = usize::from(u16::from_be_bytes([bytes[FIXED - 2], bytes[FIXED - 1]]));
    // What is no header has no length either: first whether it is one, as far as can be seen.
    match parse(&bytes[..FIXED]) {
        Ok(client) if rest == 0 => return Ok(client),
        Err(proxy_header::Error::Invalid) => return Err(NoHeader::Malformed),
        _ => {}
    }
    let whole = FIXED + rest;
    if whole > PROXY_HEADER_BYTES_MAX {
        return Err(NoHeader::TooLong);
    }
    io.read_exact(&mut bytes[FIXED..whole]).await?;
    parse(&bytes[..whole]).map_err(|_| NoHeader::Malformed)
}

fn parse(bytes: &[u8]) -> Result<Option<Client>, proxy_header::Error> {
    let config = ParseConfig { include_tlvs: true, allow_v1: false, allow_v2: true };
    let (header, _) = ProxyHeader::parse(bytes, config)?;
    let Some(address) = header.proxied_address() else { return Ok(None) };
    // PP2_TYPE_SSL with its bit PP2_CLIENT_SSL. What cannot be read says nothing, and ends the rest.
    let over_tls = |tlv: Tlv<'_>| matches!(tlv, Tlv::Ssl(about) if about.client_ssl());
    let secure = header.tlvs().map_while(Result::ok).any(over_tls);
    Ok(Some(Client { address: address.source.ip().to_canonical(), secure }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_header::ProxiedAddress;

    const SIGNATURE: &[u8] = b"\r\n\r\n\x00\r\nQUIT\n";

    /// A header with this command and family, and what follows.
    fn header(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).expect("short");
        let mut bytes = [SIGNATURE, &[command, family]].concat();
        bytes.extend(length.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    fn encoded(source: &str, destination: &str) -> Vec<u8> {
        let [source, destination] =
            [source, destination].map(|text| text.parse().expect("an address"));
        let mut bytes = [0; 256];
        let header = ProxyHeader::with_address(ProxiedAddress::stream(source, destination));
        let length = header.encode_to_slice_v2(&mut bytes).expect("room");
        bytes[..length].to_vec()
    }

    /// What is read, and what is left for whoever reads next.
    async fn heard(bytes: &[u8]) -> (Result<Option<Client>, NoHeader>, usize) {
        let mut rest = bytes;
        let heard = read(&mut rest).await;
        (heard, rest.len())
    }

    #[tokio::test]
    async fn the_client_is_read_and_not_a_byte_more() {
        for (source, destination) in
            [("203.0.113.5:4000", "10.0.0.1:443"), ("[2001:db8::5]:4000", "[2001:db8::1]:443")]
        {
            let mut bytes = encoded(source, destination);
            bytes.extend(b"GET /");
            let (client, left) = heard(&bytes).await;
            let source: std::net::SocketAddr = source.parse().expect("an address");
            let client = client.expect("a header");
            assert_eq!(client, Some(Client { address: source.ip(), secure: false }));
            assert_eq!(left, 5);
        }
    }

    /// What is heard of a client with this behind its addresses.
    async fn heard_with(more: &[u8]) -> Client {
        let addresses = [203, 0, 113, 5, 10, 0, 0, 1, 0x0f, 0xa0, 0x01, 0xbb];
        let mut bytes = header(0x21, 0x11, &[&addresses[..], more].concat());
        bytes.extend(b"GET /");
        let (client, left) = heard(&bytes).await;
        assert_eq!(left, 5);
        client.expect("a header").expect("a client")
    }

    #[tokio::test]
    async fn more_than_the_addresses_is_skipped() {
        let client = heard_with(&[&[0x04, 0, 3, 1, 2, 3][..], &[0xff; 40]].concat()).await;
        let address = "203.0.113.5".parse().expect("an address");
        assert_eq!(client, Client { address, secure: false });
    }

    #[tokio::test]
    async fn a_client_that_spoke_tls_to_the_proxy_is_told_apart() {
        let padding = [0x04, 0, 3, 1, 2, 3];
        let version = *b"\x21\x00\x07TLSv1.3";
        for (bits, secure) in [(0x01, true), (0x07, true), (0x00, false), (0x06, false)] {
            let about = [&[0x20, 0, 15, bits, 0, 0, 0, 0][..], &version].concat();
            assert_eq!(heard_with(&about).await.secure, secure, "{bits}");
            let behind_another = [&padding[..], &about].concat();
            assert_eq!(heard_with(&behind_another).await.secure, secure, "{bits}");
            let behind_nonsense = [&[0x04, 0xff, 0xff][..], &about].concat();
            assert!(!heard_with(&behind_nonsense).await.secure);
        }
        for cut in [&[0x20][..], &[0x20, 0, 1, 1], &[0x20, 0, 0], &[0x20, 0, 9, 1, 0, 0, 0, 0]] {
            assert!(!heard_with(cut).await.secure, "{cut:?}");
        }
    }

    #[tokio::test]
    async fn a_proxy_that_speaks_for_itself_names_nobody() {
        let unspecified = header(0x21, 0x00, &[]);
        let with_more = header(0x20, 0x00, &[0x04, 0, 1, 0]);
        for bytes in [header(0x20, 0x00, &[]), with_more, unspecified] {
            assert_eq!(heard(&bytes).await.0.expect("a header"), None);
        }
    }

    #[tokio::test]
    async fn everything_else_is_refused() {
        let long = header(0x20, 0x00, &[0; PROXY_HEADER_BYTES_MAX]);
        assert!(matches!(heard(&long).await.0, Err(NoHeader::TooLong)));
        let line = b"PROXY TCP4 203.0.113.5 10.0.0.1 4000 443\r\n";
        assert!(matches!(heard(line).await.0, Err(NoHeader::Version1)));
        let whole = encoded("203.0.113.5:4000", "10.0.0.1:443");
        for cut in 0..whole.len() {
            assert!(matches!(heard(&whole[..cut]).await.0, Err(NoHeader::Ended(_))), "{cut}");
        }
        let short_for_its_family = header(0x21, 0x11, &[203, 0, 113, 5]);
        for bytes in [
            &b"GET /api/health HTTP/1.1\r\n\r\n"[..],
            &header(0x31, 0x11, &[0; 12]),
            &header(0x22, 0x11, &[0; 12]),
            &header(0x21, 0x77, &[0; 12]),
            &short_for_its_family,
        ] {
            let heard = heard(bytes).await.0;
            assert!(matches!(heard, Err(NoHeader::Malformed)), "{bytes:?}: {heard:?}");
        }
    }
}
