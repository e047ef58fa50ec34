//! The header of the PROXY protocol, version 2.

use std::net::{IpAddr, SocketAddr};

use parlance_gateway::fuzzing;
use proxy_header::{ProxiedAddress, ProxyHeader};
use tokio::io::AsyncReadExt as _;

use crate::{block_on, check_reason};

/// Signature, version and command, family, length.
const FIXED: usize = 16;

/// The first byte says where the stream is cut in two; the others are the stream. It makes no difference
/// how it is cut, and exactly the header is taken from it.
pub fn preamble(bytes: &[u8]) {
    let Some((cut, stream)) = bytes.split_first() else { return };
    let (head, tail) = stream.split_at(stream.len().min(usize::from(*cut)));
    let mut whole = stream;
    let read = block_on(fuzzing::preamble(&mut whole));
    let mut pieces = head.chain(tail);
    assert_eq!(block_on(fuzzing::preamble(&mut pieces)), read);
    let (head, tail) = pieces.into_inner();
    assert_eq!(head.len() + tail.len(), whole.len(), "the same is left of it");
    match read {
        Ok(client) => {
            let length = usize::from(u16::from_be_bytes([stream[14], stream[15]]));
            let header = &stream[..FIXED + length];
            assert_eq!(header.len(), stream.len() - whole.len(), "the header and nothing else");
            let cut_short = block_on(fuzzing::preamble(&mut &header[..header.len() - 1]));
            cut_short.expect_err("a header that is not whole");
            if let Some((client, _)) = client {
                assert_eq!(client, client.to_canonical());
                assert_eq!(of(client), Ok(Some((client, false))));
            }
        }
        Err(reason) => check_reason(&reason),
    }
}

/// What is read of a header that a proxy writes for this client.
fn of(client: IpAddr) -> Result<Option<(IpAddr, bool)>, String> {
    let to = if client.is_ipv4() { "192.0.2.1:443" } else { "[2001:db8::1]:443" };
    let to = to.parse().expect("an address");
    let header = ProxyHeader::with_address(ProxiedAddress::stream(SocketAddr::new(client, 1), to));
    let mut bytes = [0; 256];
    let length = header.encode_to_slice_v2(&mut bytes).expect("there is room");
    block_on(fuzzing::preamble(&mut &bytes[..length]))
}
