//! Where the server is, how it is reached, and what of it is measured.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use parlance_client::{ClientError, Server};
use serde::{Deserialize, Serialize};

use crate::process::Tree;

/// Where the server is. What only the conductor needs does not go to other processes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Site {
    /// One node, or each node of a cluster.
    pub urls: Vec<String>,
    /// The authority of its certificate.
    pub ca: Option<PathBuf>,
    /// Local addresses that the sockets come from, in turn; none leaves it to the system.
    pub sources: Vec<IpAddr>,
    /// Accounts that exist, with their passwords; more are registered.
    #[serde(skip)]
    pub known: Vec<(String, String)>,
    /// Where accounts and rooms are kept from run to run.
    #[serde(skip)]
    pub prepared: Option<PathBuf>,
    /// Server processes that are measured.
    #[serde(skip)]
    pub servers: Vec<Tree>,
    /// Count the system calls of these.
    #[serde(skip)]
    pub syscalls: bool,
    /// Processes that share the load; 0 and 1 are this one alone.
    #[serde(skip)]
    pub processes: usize,
    /// The program that these processes are.
    #[serde(skip)]
    pub program: Option<PathBuf>,
    /// Threads of each of them.
    pub threads: usize,
}

impl Site {
    /// A site with these addresses, and nothing else said.
    #[must_use]
    pub fn at(urls: Vec<String>) -> Self {
        Self { urls, ..Self::default() }
    }

    /// The server's doors, read once a process.
    ///
    /// # Errors
    /// When an address is none.
    pub fn doors(&self) -> Result<Vec<Server>, ClientError> {
        self.urls.iter().map(|url| Server::parse_trusting(url, self.ca.as_deref())).collect()
    }

    /// A door as socket `index` goes through it.
    #[must_use]
    pub fn from_source(&self, door: &Server, index: usize) -> Server {
        match self.sources.get(index % self.sources.len().max(1)) {
            Some(source) => door.clone().from_source(*source),
            None => door.clone(),
        }
    }
}

/// So many loopback addresses, if every door is on loopback: no others can be reached from them.
#[must_use]
pub fn loopback_sources(doors: &[Server], count: u8) -> Vec<IpAddr> {
    let is_loopback = |door: &Server| {
        door.host() == "localhost" || door.host().parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback())
    };
    if !doors.iter().all(is_loopback) {
        return Vec::new();
    }
    (1..=count).map(|last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_doors_on_loopback_are_reached_from_loopback() {
        let doors = |url: &str| vec![Server::parse(url).expect("an address")];
        assert_eq!(loopback_sources(&doors("http://127.0.0.1:80"), 3).len(), 3);
        assert_eq!(loopback_sources(&doors("http://localhost:80"), 2).len(), 2);
        assert!(loopback_sources(&doors("http://10.0.0.1:80"), 3).is_empty());
    }
}
