//! TLS: 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN, resumption by tickets that only this process can
//! open. The certificate comes from files ([`files`]) or is ordered by ACME ([`acme`]); this is what
//! is shown at each handshake.

mod acme;
mod files;
mod kept;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, RwLock};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls_acme::{ResolvesServerCertAcme, is_tls_alpn_challenge};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::Tls;
use crate::limits::NO_CERTIFICATE_LOG_PAUSE;
use acme::Orders;
use files::Files;

/// ALPN's name of HTTP/2.
pub(super) const H2: &[u8] = b"h2";
/// ALPN's name of a connection that only proves a name (RFC 8737, section 3).
pub(super) const CHALLENGE: &[u8] = rustls_acme::acme::ACME_TLS_ALPN_NAME;

/// Where certificates come from, which keeps the front door's [`Identity`] up to date.
pub(super) enum Source {
    /// Files that somebody else renews.
    Files(Files),
    /// Orders of this node's own.
    Acme(Orders),
}

impl Source {
    /// Reads what there is: the files, or the certificate that was ordered before.
    ///
    /// # Errors
    /// What is wrong, with the file's name.
    pub(super) fn open(from: &Tls) -> Result<Self, String> {
        match from {
            Tls::Files(files) => Files::open(files).map(Self::Files),
            Tls::Acme(settings) => Orders::open(settings).map(Self::Acme),
        }
    }

    /// Accepts connections with whatever counts at each handshake.
    ///
    /// # Errors
    /// There is no randomness for the tickets' key.
    pub(super) fn acceptor(&self) -> Result<TlsAcceptor, String> {
        let http = [H2, b"http/1.1"].map(<[u8]>::to_vec);
        match self {
            Self::Files(files) => files.identity().acceptor(http.to_vec()),
            // Last: whoever can speak HTTP does.
            Self::Acme(orders) => {
                orders.identity().acceptor([&http[..], &[CHALLENGE.to_vec()]].concat())
            }
        }
    }

    /// Watches the files, or orders certificates, until `stop`.
    pub(super) async fn keep(self, stop: CancellationToken) {
        match self {
            Self::Files(files) => files.watch(stop).await,
            Self::Acme(orders) => orders.keep(stop).await,
        }
    }
}

/// What the front door shows.
#[derive(Debug)]
pub(super) struct Identity {
    provider: Arc<CryptoProvider>,
    /// `None` until the first certificate was ordered.
    shown: RwLock<Option<Shown>>,
    /// Answers challenges while an order is under way.
    challenges: RwLock<Option<Arc<ResolvesServerCertAcme>>>,
    /// When a refusal for want of a certificate was last logged.
    told: Mutex<Option<Instant>>,
}

#[derive(Debug, Clone)]
struct Shown {
    certified: Arc<CertifiedKey>,
    validity: Validity,
}

impl Identity {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            provider: Arc::new(aws_lc_rs::default_provider()),
            shown: RwLock::default(),
            challenges: RwLock::default(),
            told: Mutex::default(),
        })
    }

    fn acceptor(self: Arc<Self>, protocols: Vec<Vec<u8>>) -> Result<TlsAcceptor, String> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("the provider has suites for both versions")
            .with_no_client_auth()
            .with_cert_resolver(self);
        config.alpn_protocols = protocols;
        // A crowd that comes back resumes, which spares the signature and the certificates. The client
        // keeps the state, sealed under a key of this process that is replaced every six hours: a store
        // here would forget all but its last sessions.
        config.ticketer =
            Ticketer::new().map_err(|error| format!("no key for tickets: {error}"))?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // A socket is one connection: one ticket for the next one.
        config.send_tls13_tickets = 1;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Shows this certificate from the next handshake on. Connections that are open go on.
    ///
    /// # Errors
    /// It does not fit its key, or is no certificate; the one before stays.
    fn show(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Validity, String> {
        let first = chain.first().ok_or("it holds no certificate in PEM")?;
        let validity = Validity::of(first)?;
        let certified = CertifiedKey::from_der(chain, key, &self.provider)
            .map_err(|error| format!("it does not fit its key: {error}"))?;
        *self.shown.write() = Some(Shown { certified: Arc::new(certified), validity });
        metrics::gauge!("parlance_tls_certificate_not_after_seconds").set(validity.until as f64);
        Ok(validity)
    }

    /// When the certificate that is shown is good, if there is one.
    fn validity(&self) -> Option<Validity> {
        Some(self.shown.read().as_ref()?.validity)
    }

    /// Answers challenges from this order, or, with `None`, no more.
    fn answer_challenges_of(&self, order: Option<Arc<ResolvesServerCertAcme>>) {
        *self.challenges.write() = order;
    }

    /// Says that somebody came in vain, and no more often than is of use.
    fn tell_of_refusal(&self) {
        metrics::counter!("parlance_tls_without_certificate_total").increment(1);
        let mut told = self.told.lock();
        if told.is_none_or(|at| at.elapsed() >= NO_CERTIFICATE_LOG_PAUSE) {
            *told = Some(Instant::now());
            tracing::warn!("TLS connections are refused: there is no certificate yet");
        }
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if is_tls_alpn_challenge(&hello) {
            let order = self.challenges.read().clone();
            return order?.resolve(hello);
        }
        let shown = self.shown.read().as_ref().map(|shown| shown.certified.clone());
        if shown.is_none() {
            self.tell_of_refusal();
        }
        shown
    }
}

/// When a certificate is good: seconds of Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Validity {
    from: i64,
    until: i64,
}

impl Validity {
    fn of(certificate: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
            .map_err(|error| format!("it is no certificate: {error}"))?;
        let validity = parsed.validity();
        Ok(Self { from: validity.not_before.timestamp(), until: validity.not_after.timestamp() })
    }

    /// How long until a third of its time is left, when it is to be renewed. Zero once that is over.
    fn until_renewal(self) -> Duration {
        let third = self.until.saturating_sub(self.from) / 3;
        seconds_until(self.until.saturating_sub(third))
    }

    /// How long it is good from now on.
    fn left(self) -> Duration {
        seconds_until(self.until)
    }

    fn days_left(self) -> u64 {
        self.left().as_secs() / (24 * 60 * 60)
    }
}

fn seconds_until(moment: i64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let moment = Duration::from_secs(moment.try_into().unwrap_or_default());
    moment.saturating_sub(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        now.as_secs().try_into().expect("not yet")
    }

    #[test]
    fn a_certificate_is_renewed_when_a_third_of_its_time_is_left() {
        let day = 24 * 60 * 60;
        let fresh = Validity { from: now(), until: now() + 90 * day };
        let wait = fresh.until_renewal().as_secs();
        assert!((60 * 86_400 - 5..=60 * 86_400).contains(&wait), "{wait}");
        assert_eq!(fresh.days_left(), 89);
        let old = Validity { from: now() - 61 * day, until: now() + 29 * day };
        assert_eq!(old.until_renewal(), Duration::ZERO);
        let over = Validity { from: 0, until: now() - 1 };
        assert_eq!((over.until_renewal(), over.left()), (Duration::ZERO, Duration::ZERO));
    }
}
