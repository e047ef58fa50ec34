//! The decoders of what clients send, as the server calls them, for the fuzz targets in `gateway/fuzz`.
//! It adds nothing to them, and is in no build of the node.

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::Request;
use http::HeaderMap;
use ipnet::IpNet;
use jsonwebtoken::DecodingKey;
use parlance_actors::session;
use parlance_actors::vocab::{Key, Refusal, TenantId, UserId};
use parlance_protocol::{BadFrame, ClientFrame};
use serde::Deserialize;
use tokio::io::AsyncRead;
use uuid::Uuid;

use crate::cookies::Token;
use crate::extract::JsonText;
use crate::proxies::Proxies;
use crate::{auth, cookies, extract, server, socket};

/// What a frame asks of its session; or the client's number, where there is one, and what is wrong.
pub fn request(text: &[u8]) -> Result<session::Request, (Option<u64>, Refusal)> {
    match ClientFrame::parse(text) {
        Ok(frame) => socket::request(frame),
        Err(BadFrame { id, detail }) => Err((id, Refusal::bad_request(detail))),
    }
}

/// A body of JSON.
pub struct Body(JsonText);

impl Body {
    /// Takes it out of a request.
    pub async fn take(request: Request) -> Result<Self, Refusal> {
        JsonText::take(request, Duration::from_secs(10)).await.map(Self)
    }

    /// Reads it as a `T`.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Refusal> {
        self.0.read()
    }
}

/// The header of the PROXY protocol: the client, and whether it spoke TLS to the proxy. The inner `None` names
/// nobody; an error is in words.
pub async fn preamble<I: AsyncRead + Unpin>(io: &mut I) -> Result<Option<(IpAddr, bool)>, String> {
    let read = server::read_preamble(io).await.map_err(|error| error.to_string())?;
    Ok(read.map(|client| (client.address, client.secure)))
}

/// Who a request is from: the address, whether it came over TLS, and whether a trusted proxy stands between.
#[must_use]
pub fn client(
    peer: IpAddr,
    tls: bool,
    trusted: &[IpNet],
    headers: &HeaderMap,
) -> (IpAddr, bool, bool) {
    let client = Proxies::new(trusted.to_vec()).client(peer, tls, headers);
    (client.address, client.secure, client.behind_proxy)
}

/// The access token of a browser's sign-in, or the refresh token.
#[must_use]
pub fn cookie(headers: &HeaderMap, is_refresh: bool, secure: bool) -> Option<String> {
    let token = if is_refresh { Token::Refresh } else { Token::Access };
    cookies::read(headers, token, secure).map(|token| token.to_string())
}

/// The token of an `Authorization` header.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    extract::bearer_token(headers)
}

/// The key of a change.
pub fn key(headers: &HeaderMap, of_body: Option<Uuid>) -> Result<Key, Refusal> {
    extract::key(headers, of_body)
}

/// The key that an access token says it is signed with.
#[must_use]
pub fn key_of(token: &str) -> Option<Uuid> {
    auth::key_of(token)
}

/// Whose sign-in it is: tenant, user, and the sign-in itself. `None` where it is not signed with this secret, or not one of ours.
#[must_use]
pub fn verify(token: &str, secret: &[u8]) -> Option<(TenantId, UserId, Uuid)> {
    let who = auth::verify(token, &DecodingKey::from_secret(secret))?;
    Some((who.tenant, who.user, who.family))
}
