//! From `host:port` to addresses. Gossip needs addresses; links look names up by themselves.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::StartError;
use crate::limits::{NAMES_WAIT, OWN_NAME_WAIT};

/// How this node tells others where an endpoint is.
pub(super) fn advertised(host: Option<&str>, bound: SocketAddr) -> Result<Arc<str>, StartError> {
    let port = bound.port();
    match host {
        Some(host) if host.parse::<Ipv6Addr>().is_ok() => Ok(format!("[{host}]:{port}").into()),
        Some(host) => Ok(format!("{host}:{port}").into()),
        None if bound.ip().is_unspecified() => Err(StartError::NoAdvertise(bound)),
        None => Ok(bound.to_string().into()),
    }
}

/// This node's own address. Its name may take a moment to be known.
pub(super) async fn own(address: &Arc<str>) -> Result<SocketAddr, StartError> {
    const PAUSE: Duration = Duration::from_millis(500);
    let until = Instant::now() + OWN_NAME_WAIT;
    loop {
        let why = match look_up(address).await {
            // Of several, the first one counts.
            Ok(found) => match found.first() {
                Some(found) => return Ok(*found),
                None => "it has no address".to_owned(),
            },
            Err(why) => why,
        };
        if Instant::now() >= until {
            return Err(StartError::NotFound { address: Arc::clone(address), why });
        }
        sleep(PAUSE).await;
    }
}

/// All addresses that are found.
pub(super) async fn all(addresses: &[Arc<str>]) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for address in addresses {
        // Those that are not found join by the others, or by the directory.
        found.extend(look_up(address).await.unwrap_or_default());
    }
    found
}

/// One address, if it is found.
pub(super) async fn one(address: &str) -> Option<SocketAddr> {
    look_up(address).await.ok()?.first().copied()
}

async fn look_up(address: &str) -> Result<Vec<SocketAddr>, String> {
    if let Ok(address) = address.parse() {
        return Ok(vec![address]);
    }
    match timeout(NAMES_WAIT, tokio::net::lookup_host(address)).await {
        Ok(Ok(found)) => Ok(found.collect()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {NAMES_WAIT:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_told_the_advertised_host_and_the_bound_port() {
        let bound: SocketAddr = "0.0.0.0:7701".parse().expect("an address");
        let told = |host| advertised(host, bound).map(|told| told.to_string());
        assert_eq!(told(Some("node-1.internal")).expect("told"), "node-1.internal:7701");
        assert_eq!(told(Some("fd00::1")).expect("told"), "[fd00::1]:7701");
        assert!(matches!(told(None), Err(StartError::NoAdvertise(_))));
        let exact: SocketAddr = "10.0.0.1:7701".parse().expect("an address");
        assert_eq!(&*advertised(None, exact).expect("told"), "10.0.0.1:7701");
    }
}
