//! Some nodes, each on a host of its own, PostgreSQL on another, and a balancer that leads clients
//! to any node that says it is ready.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use parlance_client::{Http, Server};
use parlance_storage::testkit::{PostgresServer, Replication};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::databases::{self, Second};
use super::disk::SmallDisk;
use super::network::{Host, Network};
use super::node::{CONTROL_PORT, DATA_PORT, HTTP_PORT, Node, Report, shard_of};
use super::weather::StreamProxy;
use crate::town::Front;

pub(crate) const POSTGRES_PORT: u16 = 5432;

/// Between two looks of the balancer at its nodes, and how long one may take.
const CHECK: Duration = Duration::from_millis(500);
/// How long the nodes may take until all of them serve, on a busy machine.
const READY: Duration = Duration::from_secs(120);

pub(crate) struct Fleet {
    // Ended in this order: who asks before who answers, and the network last.
    checks: JoinHandle<()>,
    checked: Arc<Mutex<Vec<Http>>>,
    front: Arc<Front>,
    plan: Plan,
    pub(crate) nodes: Vec<Node>,
    /// One for each node, where they have small ones.
    pub(crate) small_disks: Vec<SmallDisk>,
    pub(crate) database_proxy: Option<StreamProxy>,
    pub(crate) database: PostgresServer,
    pub(crate) database_host: Host,
    pub(crate) second: Option<Second>,
    pub(crate) network: Network,
    _folder: TempDir,
}

impl Fleet {
    /// Starts PostgreSQL and so many nodes, one of which is alone when it is the only one. `None`
    /// where this machine cannot have networks.
    pub(crate) async fn open(nodes: usize) -> Option<Self> {
        let mut fleet = Self::lay_out(nodes).await?;
        fleet.start().await;
        Some(fleet)
    }

    /// The same, but no node runs yet.
    pub(crate) async fn lay_out(nodes: usize) -> Option<Self> {
        Self::lay_out_with(nodes, Way::Straight).await
    }

    /// The same, and the nodes reach the database through a proxy.
    pub(crate) async fn lay_out_behind_proxy(nodes: usize) -> Option<Self> {
        Self::lay_out_with(nodes, Way::Proxied).await
    }

    /// The same, and the database has a standby that the nodes know of.
    pub(crate) async fn lay_out_with_standby(nodes: usize, how: Replication) -> Option<Self> {
        Self::lay_out_with(nodes, Way::Either(how)).await
    }

    async fn lay_out_with(nodes: usize, way: Way) -> Option<Self> {
        let mut network = Network::open()?;
        let database_host = network.host();
        let place = databases::place(&database_host);
        let database = PostgresServer::start_at(true, Some(place)).await;
        let mut url = database.network_url();
        let (mut database_proxy, mut second) = (None, None);
        match way {
            Way::Straight => {}
            Way::Proxied => {
                let to = (database_host.address, POSTGRES_PORT).into();
                let proxy = StreamProxy::open(network.gateway().into(), to).await;
                url = format!("postgres://postgres@{}/postgres", proxy.address);
                database_proxy = Some(proxy);
            }
            Way::Either(how) => {
                let host = network.host();
                url = databases::url(&[database_host.address, host.address]);
                let server = database.standby_at(Some(databases::place(&host)), how).await;
                second = Some(Second { server, host });
            }
        }
        let folder = tempfile::Builder::new().prefix("parlance-fleet-").tempdir();
        let folder = folder.expect("a temporary folder");
        let hosts: Vec<Host> = (0..nodes).map(|_| network.host()).collect();
        let certificates = (nodes > 1).then(|| certificates(folder.path()));
        let plan = Plan { database: url, folder: folder.path().to_owned(), hosts, certificates };
        let nodes: Vec<Node> =
            plan.hosts.iter().enumerate().map(|(number, host)| plan.node(number, host)).collect();
        let front = Arc::new(Front::open().await);
        let checked = Arc::new(Mutex::new(nodes.iter().map(Node::http).collect()));
        let checks = tokio::spawn(check(Arc::clone(&checked), front.clone()));
        let _folder = folder;
        Some(Self {
            checks,
            checked,
            front,
            plan,
            nodes,
            small_disks: Vec::new(),
            database_proxy,
            database,
            database_host,
            second,
            network,
            _folder,
        })
    }

    /// Gives every node's data directory a disk of so many megabytes. None of them may have started.
    pub(crate) fn mount_small_disks(&mut self, megabytes: u32) {
        let disks = self.nodes.iter().map(|node| SmallDisk::mount(&node.data(), megabytes));
        self.small_disks = disks.collect();
    }

    /// Starts every node that does not run, and waits until all of them serve.
    pub(crate) async fn start(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| !node.is_running()) {
            node.start();
        }
        self.is_ready().await;
    }

    /// One more node on a host of its own, which does not run yet. It joins by those that the fleet
    /// began with.
    pub(crate) fn grow(&mut self) -> usize {
        let (number, host) = (self.nodes.len(), self.network.host());
        let node = self.plan.node(number, &host);
        self.checked.lock().expect("nothing panics with this lock").push(node.http());
        self.nodes.push(node);
        number
    }

    /// Starts a node, and waits until it serves or has ended by itself.
    pub(crate) async fn start_one(&mut self, place: usize) -> Result<(), ExitStatus> {
        let node = &mut self.nodes[place];
        node.start();
        let waited = timeout(READY, async {
            while !(is_ready(&node.http()).await && knows_every_owner(node).await) {
                node.still_runs()?;
                sleep(Duration::from_millis(50)).await;
            }
            Ok(())
        });
        waited
            .await
            .unwrap_or_else(|_| panic!("{} neither serves nor ends", self.nodes[place].name))
    }

    /// Every fault is over, and everything that was ended or stopped runs again.
    pub(crate) async fn heal(&mut self) {
        self.network.heal();
        for node in &self.nodes {
            node.go_on();
        }
        self.database.start_again().await;
        self.start().await;
    }

    /// Waits until every node says that it is ready, and all of them know an owner of each shard.
    pub(crate) async fn is_ready(&mut self) {
        let waited = timeout(READY, async {
            for node in &mut self.nodes {
                while !(is_ready(&node.http()).await && knows_every_owner(node).await) {
                    node.must_run();
                    sleep(Duration::from_millis(50)).await;
                }
            }
        });
        assert!(waited.await.is_ok(), "the nodes are not ready; {:?}", self.view().await);
    }

    /// How the cluster looks to the first node that answers.
    pub(crate) async fn view(&self) -> Option<Report> {
        for node in &self.nodes {
            if let Some(report) = node.report().await {
                return Some(report);
            }
        }
        None
    }

    /// The place among the nodes of the one with this name.
    pub(crate) fn place_of(&self, name: &str) -> usize {
        let place = self.nodes.iter().position(|node| node.name == name);
        place.unwrap_or_else(|| panic!("a node {name} that nobody started"))
    }

    /// The Raft leader, once there is one.
    pub(crate) async fn leader(&self) -> usize {
        self.once("a leader", |report| Some(self.place_of(report.name_of(report.raft.leader?)?)))
            .await
    }

    /// Who has a room, once somebody has.
    pub(crate) async fn owner_of(&self, room: Uuid) -> usize {
        self.once("an owner", |report| Some(self.place_of(report.owner_of(room)?))).await
    }

    /// Has operators move the rooms' shards until every node has its share of them: a young cluster
    /// is rebalanced at leisure, and these tests are about one that has rooms everywhere.
    pub(crate) async fn spread(&self, rooms: &[Uuid]) {
        // Rooms may share a shard, which can have one owner only.
        let rooms: BTreeMap<u8, Uuid> = rooms.iter().map(|room| (shard_of(*room), *room)).collect();
        let spread = timeout(READY, async {
            loop {
                let view = self.view().await.expect("the nodes run");
                let mut elsewhere = 0;
                for (room, node) in rooms.values().zip(self.nodes.iter().cycle()) {
                    if view.owner_of(*room) == Some(node.name.as_str()) {
                        continue;
                    }
                    elsewhere += 1;
                    let to = view.id_of(&node.name).expect("every node is known");
                    let ask = json!({"do": "move", "shard": shard_of(*room), "to": to});
                    // It may be on its way already, or too many are.
                    let _ = self.nodes[0].ask(&ask).await;
                }
                if elsewhere == 0 {
                    return;
                }
                sleep(Duration::from_millis(200)).await;
            }
        });
        assert!(spread.await.is_ok(), "shards do not move; {:?}", self.view().await);
    }

    async fn once<T>(&self, what: &str, find: impl Fn(&Report) -> Option<T>) -> T {
        let found = timeout(READY, async {
            loop {
                if let Some(found) = self.view().await.as_ref().and_then(&find) {
                    return found;
                }
                sleep(Duration::from_millis(50)).await;
            }
        });
        found.await.unwrap_or_else(|_| panic!("no node knows {what}"))
    }

    /// The epoch of the last move of a shard.
    pub(crate) async fn newest_epoch(&self) -> u64 {
        let view = self.view().await.expect("the nodes run");
        view.shards.iter().map(|shard| shard.epoch).max().expect("there are shards")
    }

    /// How often the nodes logged something.
    pub(crate) fn print_log_counts(&self, of: &[&str]) {
        for words in of {
            let count = |node: &Node| node.log_count(words);
            println!("{words:?}: {:?} times", self.nodes.iter().map(count).collect::<Vec<_>>());
        }
    }

    /// The hosts of all nodes but one.
    pub(crate) fn hosts_but(&self, one: usize) -> Vec<Host> {
        let others = self.nodes.iter().enumerate().filter(|(place, _)| *place != one);
        others.map(|(_, node)| node.host.clone()).collect()
    }

    /// The service as clients reach it: any node that is ready.
    pub(crate) fn server(&self) -> Server {
        Server::parse(&format!("http://{}", self.front.address())).expect("a good address")
    }

    pub(crate) fn http(&self) -> Http {
        Http::new(self.server())
    }

    /// Keeps the nodes' logs where they outlive the test, and says where.
    fn keep_logs(&self) {
        let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cluster");
        let kept = kept.join(std::process::id().to_string());
        if std::fs::create_dir_all(&kept).is_err() {
            return;
        }
        for node in &self.nodes {
            // A node that never started has none.
            let _ = std::fs::copy(node.log_file(), kept.join(format!("{}.log", node.name)));
        }
        println!("the nodes' logs are kept in {}", kept.display());
        for node in &self.nodes {
            println!("the end of {}'s:\n{}", node.name, node.log(20));
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.checks.abort();
        if std::thread::panicking() {
            self.keep_logs();
        }
    }
}

/// How the nodes reach the database.
enum Way {
    Straight,
    Proxied,
    /// It has a standby beside it, and the URL names both.
    Either(Replication),
}

fn name(number: usize) -> String {
    format!("node-{}", number + 1)
}

struct Plan {
    database: String,
    folder: PathBuf,
    /// Those that the fleet begins with.
    hosts: Vec<Host>,
    /// The folder of certificates, for a cluster.
    certificates: Option<PathBuf>,
}

impl Plan {
    fn node(&self, number: usize, host: &Host) -> Node {
        let (name, place) = (name(number), self.folder.join(name(number)));
        if let Some(folder) = &self.certificates {
            let ca = folder.to_str().expect("a plain path");
            make_certificate(folder, &["node", "--ca", ca, "--name", &name]);
        }
        let config = self.config(number, host, &place.join("data"));
        Node::new(name, host.clone(), place, &config)
    }

    /// A node's configuration: the same for every node but for its name and address.
    fn config(&self, number: usize, host: &Host, data: &Path) -> String {
        let mut config = format!(
            "data_dir = {data:?}\n\
             [http]\nlisten = \"0.0.0.0:{HTTP_PORT}\"\nrequests_per_second = 0\n\
             max_connections_per_address = 0\ndisk_free_min_mib = 0\n\
             [auth]\nregister_per_minute = 0\nlogin_per_minute = 0\n\
             cluster_secret = \"{SECRET}\"\n\
             argon2_memory_kib = 8192\nargon2_iterations = 1\n\
             access_token_seconds = 14400\n\
             [database]\nurl = {:?}\n",
            self.database
        );
        if let Some(folder) = &self.certificates {
            let join: Vec<String> =
                self.hosts.iter().map(|host| format!("{}:{CONTROL_PORT}", host.address)).collect();
            let file = |name: &str| folder.join(name);
            config.push_str(&format!(
                "[cluster]\nca = {:?}\ncert = {:?}\nkey = {:?}\n\
                 control_listen = \"{host}:{CONTROL_PORT}\"\n\
                 data_listen = \"{host}:{DATA_PORT}\"\n\
                 join = {join:?}\nexpect = {}\n",
                file("ca.pem"),
                file(&format!("{}.pem", name(number))),
                file(&format!("{}.key", name(number))),
                self.hosts.len(),
                host = host.address,
            ));
        }
        config
    }
}

/// What every node's tokens are signed with in these tests.
const SECRET: &str = "bm90IGEgc2VjcmV0LCBidXQgbG9uZyBlbm91Z2ggZm9yIG9uZSE";

/// An authority, made as an operator would.
fn certificates(folder: &Path) -> PathBuf {
    let folder = folder.join("certificates");
    make_certificate(&folder, &["ca", "--cluster", "fleet"]);
    folder
}

fn make_certificate(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parlance"));
    let made = command.arg("cert").args(arguments).arg("--out").arg(folder).output();
    let made = made.expect("the binary runs");
    let why = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "parlance cert {arguments:?}: {why}");
}

/// The balancer's eye: clients are led to nodes that are ready, and to any when none is.
async fn check(nodes: Arc<Mutex<Vec<Http>>>, front: Arc<Front>) {
    loop {
        let mut checks = JoinSet::new();
        let nodes = nodes.lock().expect("nothing panics with this lock").clone();
        for http in nodes {
            checks.spawn(async move {
                let ready = is_ready(&http).await;
                (http.server().authority().parse().expect("an address"), ready)
            });
        }
        let found = checks.join_all().await;
        let some = found.iter().any(|(_, ready)| *ready);
        front.lead_to(found.into_iter().filter(|(_, ready)| *ready || !some).map(|(at, _)| at));
        sleep(CHECK).await;
    }
}

async fn is_ready(http: &Http) -> bool {
    let asked = http.call("GET", "/api/health/ready", None, None::<&()>);
    timeout(CHECK * 2, asked).await.is_ok_and(|answer| answer.is_ok())
}

async fn knows_every_owner(node: &Node) -> bool {
    // A node that is alone owns everything, and says so by being ready.
    match node.report().await {
        Some(report) => report.shards.iter().all(|shard| shard.owner.is_some()),
        None => !node.data().join("control.sock").exists(),
    }
}
