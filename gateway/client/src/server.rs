//! Where the server is, and connections to it: TCP, or TLS over it.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::stream::{Stream, Tls};
use crate::{ClientError, limits};

/// A server's address.
#[derive(Debug, Clone)]
pub struct Server {
    authority: String,
    host: String,
    port: u16,
    source: Option<IpAddr>,
    tls: Option<Tls>,
}

impl Server {
    /// Reads `http://HOST:PORT` or `https://HOST:PORT` (`ws:` and `wss:` are the same). With TLS the
    /// server's certificate must be of an authority that this system trusts.
    ///
    /// # Errors
    /// [`ClientError::BadAddress`] when it is not one, or no authority can be read.
    pub fn parse(url: &str) -> Result<Self, ClientError> {
        Self::parse_trusting(url, None)
    }

    /// The same; with TLS the certificate must be of an authority in this PEM file, if there is one.
    ///
    /// # Errors
    /// As [`Server::parse`].
    pub fn parse_trusting(url: &str, ca: Option<&Path>) -> Result<Self, ClientError> {
        let bad = |why: &str| ClientError::BadAddress(format!("{url:?}: {why}"));
        let uri: http::Uri =
            url.parse().map_err(|_| bad("not an address; write http://HOST:PORT"))?;
        let secure = match uri.scheme_str() {
            Some("http" | "ws") => false,
            Some("https" | "wss") => true,
            _ => return Err(bad("write http://HOST:PORT or https://HOST:PORT")),
        };
        let authority = uri.authority().ok_or_else(|| bad("it has no host"))?;
        if uri.path().len() > 1 {
            return Err(bad("it has a path; write http://HOST:PORT"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tls = secure.then(|| Tls::to(&host, ca)).transpose()?;
        Ok(Self { authority: authority.as_str().to_owned(), host, port, source: None, tls })
    }

    /// The host, without its port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The same server, reached from this local address (for load from several addresses).
    #[must_use]
    pub fn from_source(mut self, source: IpAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// `HOST:PORT`, as the `Host` header has it.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Opens a connection, with its TLS handshake if the address asks for TLS.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`]; nothing was done.
    pub async fn connect(&self) -> Result<Stream, ClientError> {
        let unreachable = |why: &dyn std::fmt::Display| {
            ClientError::Unreachable(format!("{}: {why}", self.authority))
        };
        let connect = async {
            let mut last = std::io::Error::other("the name has no address");
            for address in tokio::net::lookup_host((self.host.as_str(), self.port)).await? {
                match self.connect_to(address).await {
                    Ok(stream) => return self.secure(stream).await,
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

    async fn secure(&self, stream: TcpStream) -> std::io::Result<Stream> {
        match &self.tls {
            Some(tls) => tls.over(stream).await,
            None => Ok(Stream::Plain(stream)),
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
        for (url, word) in
            [("ftp://a", "http://HOST:PORT"), ("a b", "not an address"), ("http://a/b", "path")]
        {
            let error = Server::parse(url).expect_err(url);
            assert!(error.to_string().contains(word), "{error}");
        }
        let server = Server::parse("http://[::1]:80").expect("an address");
        assert_eq!((server.host(), server.authority()), ("::1", "[::1]:80"));
        let error = Server::parse_trusting("https://a", Some(Path::new("/no/such/file")));
        let error = error.expect_err("an authority that cannot be read");
        assert!(error.to_string().contains("/no/such/file"), "{error}");
    }
}
