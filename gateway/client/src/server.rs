//! Where the server is, and TCP connections to it.

use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::{ClientError, limits};

/// A server's address.
#[derive(Debug, Clone)]
pub struct Server {
    authority: String,
    host: String,
    port: u16,
    source: Option<IpAddr>,
}

impl Server {
    /// Reads `http://HOST:PORT`.
    ///
    /// # Errors
    /// [`ClientError::BadAddress`] when it is not one, or asks for TLS.
    pub fn parse(url: &str) -> Result<Self, ClientError> {
        let bad = |why: &str| ClientError::BadAddress(format!("{url:?}: {why}"));
        let uri: http::Uri =
            url.parse().map_err(|_| bad("not an address; write http://HOST:PORT"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(bad("this client has no TLS yet; write http://HOST:PORT")),
            _ => return Err(bad("write http://HOST:PORT")),
        }
        let authority = uri.authority().ok_or_else(|| bad("it has no host"))?;
        if uri.path().len() > 1 {
            return Err(bad("it has a path; write http://HOST:PORT"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self { authority: authority.as_str().to_owned(), host, port, source: None })
    }

    /// The same server, reached from this local address (for load from several addresses).
    #[must_use]
    pub const fn from_source(mut self, source: IpAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// `HOST:PORT`, as the `Host` header has it.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Opens a TCP connection.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`]; nothing was done.
    pub async fn connect(&self) -> Result<TcpStream, ClientError> {
        let unreachable = |why: &dyn std::fmt::Display| {
            ClientError::Unreachable(format!("{}: {why}", self.authority))
        };
        let connect = async {
            let mut last = std::io::Error::other("the name has no address");
            for address in tokio::net::lookup_host((self.host.as_str(), self.port)).await? {
                match self.connect_to(address).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = error,
                }
            }
            Err(last)
        };
        match timeout(limits::CONNECT_WAIT, connect).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(unreachable(&error)),
            Err(_) => Err(unreachable(&"connecting took too long")),
        }
    }

    async fn connect_to(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        let stream = match self.source {
            None => TcpStream::connect(address).await?,
            Some(source) => {
                let socket =
                    if source.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
                socket.bind(SocketAddr::new(source, 0))?;
                socket.connect(address).await?
            }
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_be_used_are_named() {
        for (url, word) in [
            ("https://a:1", "TLS"),
            ("ftp://a", "http://HOST:PORT"),
            ("a b", "not an address"),
            ("http://a/b", "path"),
        ] {
            let error = Server::parse(url).expect_err(url);
            assert!(error.to_string().contains(word), "{error}");
        }
        let server = Server::parse("http://[::1]:80").expect("an address");
        assert_eq!((server.host.as_str(), server.authority()), ("::1", "[::1]:80"));
    }
}
