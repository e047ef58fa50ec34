//! Certificates by ACME (RFC 8555). The names are proven by TLS-ALPN-01 (RFC 8737): the server that
//! signs connects to the front door and looks at a certificate that only the account's holder can make.
//!
//! rustls-acme speaks the protocol; each order is a state of its own there. When one is made, what is
//! kept and shown of it, and what is said about it, is decided here. Nothing is shared with other
//! nodes: a challenge is answered by the node that asked for it, and by no other.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use rustls_acme::acme::Problem;
use rustls_acme::{AcmeConfig, AcmeState, EventError, EventOk, OrderError};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::kept::{Kept, OrderFiles};
use super::{Identity, Validity};
use crate::config::Acme;
use crate::limits::{
    ACME_ERROR_CHARS_MAX, ACME_LOOK_AGAIN, ACME_ORDER_MAX, ACME_RETRY_FACTOR, ACME_RETRY_MAX,
    ACME_RETRY_MIN,
};

/// Orders certificates, one after the other.
pub(in crate::server) struct Orders {
    settings: Acme,
    identity: Arc<Identity>,
    kept: Arc<Kept>,
    /// How the ACME server itself is trusted.
    client: Arc<ClientConfig>,
}

impl Orders {
    /// Shows the certificate that was ordered before, if there is one. Nothing is ordered yet.
    ///
    /// # Errors
    /// The folder or the authorities' file is of no use.
    pub(super) fn open(settings: &Acme) -> Result<Self, String> {
        let identity = Identity::new();
        let client = client(settings.authorities.as_deref(), &identity.provider)?;
        let kept = Arc::new(Kept::open(settings)?);
        if let Some(pem) = kept.certificate()? {
            let file = kept.certificate_file().display();
            match show(&identity, &pem) {
                Ok(validity) => {
                    let days_left = validity.days_left();
                    tracing::info!(%file, days_left, "the certificate of an earlier order is used");
                }
                Err(error) => {
                    tracing::error!(%file, %error, "a kept certificate is not used");
                }
            }
        }
        Ok(Self { settings: settings.clone(), identity, kept, client })
    }

    pub(super) fn identity(&self) -> Arc<Identity> {
        self.identity.clone()
    }

    /// Orders whenever it is time, until `stop`.
    pub(super) async fn keep(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.renew()).await;
    }

    async fn renew(&self) {
        let mut failures = 0;
        loop {
            self.until_due().await;
            let Acme { domains, directory, .. } = &self.settings;
            tracing::info!(?domains, %directory, "ordering a certificate");
            match self.order().await {
                Ok(validity) => {
                    failures = 0;
                    count("issued");
                    let days_left = validity.days_left();
                    tracing::info!(days_left, "a certificate was issued; new connections use it");
                }
                Err(error) => {
                    let pause = pause_after(failures);
                    failures = failures.saturating_add(1);
                    count("failed");
                    self.tell_of_failure(&error, pause);
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Waits until the certificate is to be renewed, by the clock that it is made for: that one may be
    /// set, or stand while the machine sleeps.
    async fn until_due(&self) {
        while let Some(validity) = self.identity.validity() {
            let wait = validity.until_renewal();
            if wait.is_zero() {
                return;
            }
            tokio::time::sleep(wait.min(ACME_LOOK_AGAIN)).await;
        }
    }

    /// One order from its beginning to its end.
    ///
    /// # Errors
    /// Why there is no new certificate, or none that is of use; the one before stays.
    async fn order(&self) -> Result<Validity, String> {
        let issued = Arc::new(Mutex::new(None));
        let files = OrderFiles { kept: self.kept.clone(), issued: issued.clone() };
        let contact = self.settings.contact.iter().map(|address| format!("mailto:{address}"));
        let order = AcmeConfig::new_with_client_config(&self.settings.domains, self.client.clone())
            .directory(&self.settings.directory)
            .contact(contact)
            .cache(files)
            .state();
        self.identity.answer_challenges_of(Some(order.resolver()));
        let ended = tokio::time::timeout(ACME_ORDER_MAX, Box::pin(finish(order))).await;
        self.identity.answer_challenges_of(None);
        ended.map_err(|_| format!("nothing came of it for {ACME_ORDER_MAX:?}"))??;
        let pem = issued.lock().take().ok_or("the order ended without a certificate")?;
        let validity = show(&self.identity, &pem)?;
        // Another order at once would only bring another one of these.
        if validity.until_renewal().is_zero() {
            let what = "the new certificate is in use, and already due for renewal: check this \
                        machine's clock";
            return Err(what.to_owned());
        }
        Ok(validity)
    }

    fn tell_of_failure(&self, error: &str, pause: Duration) {
        let retry_seconds = pause.as_secs();
        match self.identity.validity() {
            None => tracing::error!(
                %error,
                retry_seconds,
                "no certificate was issued; TLS connections are refused until there is one"
            ),
            Some(validity) if validity.left().is_zero() => tracing::error!(
                %error,
                retry_seconds,
                "no certificate was issued, and the one in use has run out"
            ),
            Some(validity) => tracing::warn!(
                %error,
                retry_seconds,
                days_left = validity.days_left(),
                "no certificate was issued; the one in use goes on"
            ),
        }
    }
}

/// Drives an order until a certificate is there.
async fn finish(mut order: AcmeState<String>) -> Result<(), String> {
    while let Some(event) = order.next().await {
        match event {
            Ok(EventOk::CertCacheStore) => return Ok(()),
            Ok(_) => {}
            Err(EventError::CertCacheStore(error)) => {
                tracing::error!(%error, "the new certificate is used and not kept; a restart orders one more");
                return Ok(());
            }
            // An account that is not kept would be another one with each order.
            Err(error) => return Err(told(&error)),
        }
    }
    Err("the order ended by itself".to_owned())
}

/// Shows a key and a chain, both in one PEM.
fn show(identity: &Identity, pem: &[u8]) -> Result<Validity, String> {
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| format!("its key: {error}"))?;
    let chain = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("its chain: {error}"))?;
    identity.show(chain, key)
}

/// Trusts the authorities that the web trusts, and those of the file.
fn client(
    more: Option<&Path>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    if let Some(file) = more {
        let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
        let found = CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| wrong(&error))?;
        if found.is_empty() {
            return Err(wrong(&"it holds no certificate in PEM"));
        }
        for authority in found {
            roots.add(authority).map_err(|error| wrong(&error))?;
        }
    }
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for both versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn count(outcome: &'static str) {
    metrics::counter!("parlance_acme_orders_total", "outcome" => outcome).increment(1);
}

/// How long to wait after so many failures and one more.
fn pause_after(failures: u32) -> Duration {
    let factor = ACME_RETRY_FACTOR.saturating_pow(failures);
    ACME_RETRY_MIN.saturating_mul(factor).min(ACME_RETRY_MAX)
}

/// What went wrong, in one line that is not too long whatever the server said.
fn told(error: &EventError<String, String>) -> String {
    let said = |problem: Option<&Problem>| {
        problem.and_then(|problem| problem.detail.clone()).unwrap_or_else(|| "no reason".to_owned())
    };
    let text = match error {
        EventError::AccountCacheLoad(error) | EventError::AccountCacheStore(error) => error.clone(),
        EventError::Order(OrderError::BadAuth(authorization)) => {
            let problem = authorization.challenges.iter().find_map(|tried| tried.error.as_ref());
            let rustls_acme::acme::Identifier::Dns(name) = &authorization.identifier;
            format!("{name} was not proven to be this node's: {}", said(problem))
        }
        EventError::Order(OrderError::BadOrder(order)) => {
            format!("the order was refused: {}", said(order.error.as_ref()))
        }
        EventError::Order(error) => {
            let text = error.to_string();
            problem(&text).unwrap_or(text)
        }
        error => error.to_string(),
    };
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(ACME_ERROR_CHARS_MAX).collect()
}

/// The problem document (RFC 8555, section 6.7) of an error answer. rustls-acme keeps the type of that
/// error to itself; its text ends in the status and the body, quoted.
fn problem(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Document {
        r#type: String,
        detail: Option<String>,
    }
    let (head, quoted) = text.split_once(" \"")?;
    let status = head.rsplit(' ').next()?;
    let body = serde_json::from_str::<String>(&format!("\"{quoted}")).ok()?;
    let Document { r#type, detail } = serde_json::from_str(&body).ok()?;
    Some(format!("the ACME server says {status}, {type}: {}", detail.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_five_orders_fail_in_the_first_hour() {
        let mut at = Duration::ZERO;
        let starts = (0..30).map(|failures| {
            let start = at;
            at += pause_after(failures);
            start
        });
        let within = |start: &Duration| *start < Duration::from_secs(60 * 60);
        assert_eq!(starts.filter(within).count(), 5);
        assert_eq!(pause_after(u32::MAX), ACME_RETRY_MAX);
    }

    #[test]
    fn an_error_answer_is_told_by_its_problem_and_anything_else_as_it_is() {
        let body = "{\n  \"type\": \"urn:ietf:params:acme:error:rateLimited\",\n  \"detail\": \"too many \\\"new\\\" orders\"\n}";
        let text = format!("acme error: http request error: non 2xx http status: 429 {body:?}");
        assert_eq!(
            problem(&text).expect("a problem"),
            "the ACME server says 429, urn:ietf:params:acme:error:rateLimited: too many \"new\" orders"
        );
        for other in ["io error: refused", "non 2xx http status: 500 \"<html>\"", "a \"b", ""] {
            assert_eq!(problem(other), None, "{other}");
        }
    }

    #[test]
    fn what_a_server_says_stays_one_line_and_short() {
        let long = format!("first\nsecond\x1b[31m{}", "x".repeat(10 * ACME_ERROR_CHARS_MAX));
        let line = told(&EventError::AccountCacheLoad(long));
        assert!(line.starts_with("first second [31m"), "{line}");
        assert_eq!(line.chars().count(), ACME_ERROR_CHARS_MAX);
    }

    #[test]
    fn a_file_without_an_authority_is_named() {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("roots.pem");
        std::fs::write(&file, "nothing of use").expect("written");
        let error = client(Some(&file), &provider).expect_err("no certificate");
        assert!(error.contains("roots.pem"), "{error}");
        let made = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).expect("made");
        std::fs::write(&file, made.cert.pem()).expect("written");
        client(Some(&file), &provider).expect("an authority");
    }
}
