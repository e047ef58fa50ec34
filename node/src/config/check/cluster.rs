//! What keys of a cluster need of one another: the three files, PostgreSQL and a secret that are
//! the same everywhere, one way to begin, a way to be reached, and times in their order.

use std::net::SocketAddr;

use figment::Figment;
use figment::value::Value;

use super::Faults;
use crate::config::show::whole;
use crate::config::sources::Place;

/// A node is one of a cluster when this is set.
const CERT: &str = "cluster.cert";

/// Checks the section as a whole.
pub(super) fn together(figment: &Figment, faults: &mut Faults) {
    let section = Section { figment };
    section.files(faults);
    if section.is_set(CERT) {
        section.shared_parts(faults);
        section.beginning(faults);
        section.addresses(faults);
    } else {
        section.without_a_certificate(faults);
    }
    section.times(faults);
}

struct Section<'a> {
    figment: &'a Figment,
}

impl Section<'_> {
    fn fault(&self, faults: &mut Faults, key: &str, what: impl Into<String>) {
        let about = self.figment.find_metadata(key);
        let place = Place(about.map(|about| about.name.to_string()).unwrap_or_default());
        faults.add(place, key, what);
    }

    fn is_set(&self, key: &str) -> bool {
        self.figment.contains(key)
    }

    fn is_on(&self, key: &str) -> bool {
        self.figment.find_value(key).ok().and_then(|value| value.to_bool()).unwrap_or_default()
    }

    fn number(&self, key: &str) -> Option<i128> {
        self.figment.find_value(key).ok().as_ref().and_then(whole)
    }

    fn expects(&self) -> bool {
        self.number("cluster.expect").is_some_and(|nodes| nodes > 0)
    }

    fn joins(&self) -> bool {
        let join = self.figment.find_value("cluster.join");
        matches!(join, Ok(Value::Array(_, places)) if !places.is_empty())
    }

    /// None of the three files is of use without the other two.
    fn files(&self, faults: &mut Faults) {
        let files = ["cluster.ca", CERT, "cluster.key"];
        for one in files.into_iter().filter(|one| self.is_set(one)) {
            let missing = files.into_iter().filter(|other| !self.is_set(other));
            let missing = missing.collect::<Vec<_>>().join(" and ");
            if !missing.is_empty() {
                self.fault(faults, one, format!("needs {missing} beside it"));
            }
        }
    }

    /// What any node needs is in one database, sealed with one secret.
    fn shared_parts(&self, faults: &mut Faults) {
        if !self.is_set("database.url") {
            let what = "a cluster needs PostgreSQL: set database.url, the same on every node; \
                        SQLite is for a node that is alone";
            self.fault(faults, CERT, what);
        }
        if !self.is_set("auth.cluster_secret") && !self.is_set("auth.cluster_secret_file") {
            let what = "a cluster needs auth.cluster_secret_file, the same on every node: the \
                        secret that a node makes for itself opens nothing of the others";
            self.fault(faults, CERT, what);
        }
    }

    /// At most one way to begin.
    fn beginning(&self, faults: &mut Faults) {
        let bootstrap = "cluster.bootstrap";
        if self.is_on(bootstrap) && self.joins() {
            let what = "begins a cluster, and cluster.join joins one: set only one of them";
            self.fault(faults, bootstrap, what);
        }
        if self.is_on(bootstrap) && self.expects() {
            let what = "is set, and so is cluster.expect, with which the database decides who \
                        begins: set only one of them";
            self.fault(faults, bootstrap, what);
        }
        if self.expects() && !self.joins() {
            let what = "needs cluster.join beside it, by which the nodes find the one that begins";
            self.fault(faults, "cluster.expect", what);
        }
    }

    /// Others must be able to dial what this node says of itself.
    fn addresses(&self, faults: &mut Faults) {
        let (control, data) = ("cluster.control_listen", "cluster.data_listen");
        let address = |key| {
            let value = self.figment.find_value(key).ok()?;
            value.as_str()?.parse::<SocketAddr>().ok()
        };
        let (Some(of_control), Some(of_data)) = (address(control), address(data)) else { return };
        let everywhere = [(control, of_control), (data, of_data)]
            .into_iter()
            .find(|(_, address)| address.ip().is_unspecified());
        if let Some((key, address)) = everywhere
            && !self.is_set("cluster.advertise")
        {
            let what = format!(
                "{address} is every address of this machine: set cluster.advertise to the host by \
                 which the other nodes reach it"
            );
            self.fault(faults, key, what);
        }
        if of_control == of_data && of_control.port() != 0 {
            let what = format!("is {of_data}, and so is {control}: they must differ");
            self.fault(faults, data, what);
        }
    }

    /// Keys that mean nothing to a node that is alone would be ignored without a word.
    fn without_a_certificate(&self, faults: &mut Faults) {
        let what = "means nothing to a node that is alone: set cluster.ca, cluster.cert and \
                    cluster.key beside it (`parlance cert` makes them)";
        let given = [
            ("cluster.bootstrap", self.is_on("cluster.bootstrap")),
            ("cluster.join", self.joins()),
            ("cluster.expect", self.expects()),
            ("cluster.advertise", self.is_set("cluster.advertise")),
        ];
        for (key, _) in given.into_iter().filter(|(_, given)| *given) {
            self.fault(faults, key, what);
        }
    }

    fn times(&self, faults: &mut Faults) {
        for (less, more, why) in [
            ("renew_ms", "lease_ms", "a lease must outlive the wait for its renewal"),
            ("heartbeat_ms", "election_min_ms", "a leader must be heard before it is replaced"),
            ("election_min_ms", "election_max_ms", "the waits must differ from node to node"),
        ] {
            let (less, more) = (format!("cluster.{less}"), format!("cluster.{more}"));
            if let (Some(small), Some(large)) = (self.number(&less), self.number(&more))
                && small >= large
            {
                let what = format!("is {small}, and must be less than {more}, {large}: {why}");
                self.fault(faults, &less, what);
            }
        }
    }
}
