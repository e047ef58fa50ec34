//! The fleet's second database server: the standby of the first one, promoted by these tests as an
//! operator would. The nodes' URL names both.

use std::net::Ipv4Addr;

use parlance_storage::testkit::{Place, PostgresServer, Replication};

use super::fleet::Fleet;
use super::network::Host;

/// The server that is not the primary.
pub(crate) struct Second {
    pub(crate) server: PostgresServer,
    pub(crate) host: Host,
}

/// A server's place is its host.
pub(crate) fn place(host: &Host) -> Place {
    Place { namespace: host.path(), address: host.address.into() }
}

/// The URL of several servers, of which one is the primary.
pub(crate) fn url(hosts: &[Ipv4Addr]) -> String {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    format!("postgres://postgres@{}/postgres?target_session_attrs=read-write", hosts.join(","))
}

impl Fleet {
    /// Promotes the standby. What was the primary stays as it is, and is the second one now.
    pub(crate) async fn fail_over(&mut self) {
        let second = self.second.as_mut().expect("the fleet was laid out with a standby");
        second.server.promote().await;
        std::mem::swap(&mut self.database, &mut second.server);
        std::mem::swap(&mut self.database_host, &mut second.host);
    }

    /// What was the primary is thrown away, and a new standby is made in its place.
    pub(crate) async fn get_a_new_standby(&mut self, how: Replication) {
        let Second { server, host } = self.second.take().expect("it was laid out with a standby");
        drop(server);
        let server = self.database.standby_at(Some(place(&host)), how).await;
        self.second = Some(Second { server, host });
    }

    /// The server that is not the primary.
    pub(crate) fn second(&mut self) -> &mut Second {
        self.second.as_mut().expect("the fleet was laid out with a standby")
    }
}
