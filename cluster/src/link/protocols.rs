//! The protocols of links and their versions: what a node offers and accepts, and what came of it.
//!
//! A node speaks the version of its release and that of the release before, so that nodes of both
//! work together while a cluster is upgraded. Each connection speaks the newest one that both ends
//! know; whoever puts bytes on it or takes them off asks the connection ([`super::Linked`]).

use super::hello::Purpose;

/// A version of a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u16);

/// The versions of each protocol that a node speaks, the newest first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Protocols {
    pub(crate) gossip: &'static [Version],
    pub(crate) raft: &'static [Version],
    pub(crate) actor: &'static [Version],
    pub(crate) relay: &'static [Version],
}

impl Protocols {
    /// What this build speaks.
    #[cfg(not(feature = "next-version"))]
    pub(crate) const NOW: Self = Self {
        gossip: &[Version(1)],
        raft: &[Version(1)],
        actor: &[Version(1)],
        relay: &[Version(1)],
    };
    /// What this build speaks: the one that the upgrade is tested with.
    #[cfg(feature = "next-version")]
    pub(crate) const NOW: Self = Self::NEXT;

    /// What the release after this one would speak, as the upgrade is tested with it.
    #[cfg(any(test, feature = "next-version"))]
    pub(crate) const NEXT: Self = Self {
        gossip: &[Version(2), Version(1)],
        raft: &[Version(2), Version(1)],
        actor: &[Version(2), Version(1)],
        relay: &[Version(2), Version(1)],
    };

    /// The name and the versions of what a connection speaks.
    fn of(&self, purpose: Purpose) -> (&'static str, &'static [Version]) {
        match purpose {
            Purpose::Gossip => ("gossip", self.gossip),
            Purpose::Raft | Purpose::Snapshot => ("raft", self.raft),
            Purpose::Actor => ("actor", self.actor),
            Purpose::Relay => ("relay", self.relay),
        }
    }

    /// How TLS names the versions, the newest first.
    pub(super) fn names(&self, purpose: Purpose) -> Vec<String> {
        let (protocol, versions) = self.of(purpose);
        versions.iter().map(|version| name(protocol, *version)).collect()
    }

    /// The version that a name of TLS stands for; `None` when it is not spoken for this purpose.
    pub(super) fn version(&self, purpose: Purpose, spoken: &[u8]) -> Option<Version> {
        let (protocol, versions) = self.of(purpose);
        versions.iter().copied().find(|version| name(protocol, *version).as_bytes() == spoken)
    }
}

fn name(protocol: &str, version: Version) -> String {
    format!("parlance-{protocol}/{}", version.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_speaks_its_own_version_and_at_most_the_one_before() {
        for protocols in [Protocols::NOW, Protocols::NEXT] {
            for versions in [protocols.gossip, protocols.raft, protocols.actor, protocols.relay] {
                assert!(matches!(versions, [_] | [_, _]), "{versions:?}");
                assert!(versions.windows(2).all(|two| two[0].0 == two[1].0 + 1), "{versions:?}");
            }
        }
    }

    #[test]
    fn the_names_of_protocols_do_not_change() {
        assert_eq!(
            Protocols::NEXT.names(Purpose::Gossip),
            ["parlance-gossip/2", "parlance-gossip/1"]
        );
        assert_eq!(Protocols::NEXT.names(Purpose::Raft), ["parlance-raft/2", "parlance-raft/1"]);
        assert_eq!(
            Protocols::NEXT.names(Purpose::Snapshot),
            ["parlance-raft/2", "parlance-raft/1"]
        );
        assert_eq!(Protocols::NEXT.names(Purpose::Actor), ["parlance-actor/2", "parlance-actor/1"]);
        assert_eq!(Protocols::NEXT.names(Purpose::Relay), ["parlance-relay/2", "parlance-relay/1"]);
        let spoken = |name: &str| Protocols::NEXT.version(Purpose::Raft, name.as_bytes());
        assert_eq!(spoken("parlance-raft/1"), Some(Version(1)));
        assert_eq!(spoken("parlance-raft/3"), None);
        assert_eq!(spoken("parlance-actor/1"), None);
    }
}
