//! A network of its own for one test: hosts as network namespaces on one bridge, to which the
//! test itself has a cable. The bridge is in a namespace too, where no packet filter of the machine
//! (such as a container engine's) looks at what passes. What is cut is cut in a host's own packet filter. Everything is removed
//! when the network is dropped, also by a panic; what a killed run left behind is removed by the
//! next one.

use std::net::Ipv4Addr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Says that a machine without root or namespaces fails the test instead of skipping it.
const REQUIRED: &str = "TEST_NAMESPACES";
/// The networks of this process, so that each has its own name.
static NETWORKS: AtomicU32 = AtomicU32::new(0);
/// What every name of ours begins with: a bridge's may have 15 characters in all.
const PREFIX: &str = "pl";
/// The bridge in the switch's namespace.
const BRIDGE: &str = "switch";
/// The chain in each host that drops what a fault takes away.
const FAULTS: &str = "faults";
/// Hosts get 10.213.SLOT.2 and up; a slot is one network on this machine.
const SLOTS: u8 = 250;

/// Removed with all its hosts when dropped.
#[derive(Debug)]
pub(crate) struct Network {
    name: String,
    slot: u8,
    hosts: Vec<Host>,
    /// Held as long as the network uses its addresses.
    _lock: UnixListener,
}

/// One machine: a network namespace with one address.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    namespace: String,
    pub(crate) address: Ipv4Addr,
}

impl Network {
    /// A network without hosts, or `None` with a line that says why the test is skipped.
    pub(crate) fn open() -> Option<Self> {
        if let Err(why) = possible() {
            assert!(!Self::is_required(), "{why}, and {REQUIRED} asks for these tests");
            println!("SKIPPED: {why}");
            return None;
        }
        sweep();
        let (slot, lock) = slot();
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let network = Self { name, slot, hosts: Vec::new(), _lock: lock };
        let switch = network.switch();
        ip(&["netns", "add", &switch]);
        ip(&["-n", &switch, "link", "add", BRIDGE, "type", "bridge"]);
        ip(&["-n", &switch, "link", "set", BRIDGE, "up"]);
        let cable = ["type", "veth", "peer", "name", "test", "netns", &switch];
        ip(&[&["link", "add", &network.name], &cable[..]].concat());
        ip(&["-n", &switch, "link", "set", "test", "master", BRIDGE, "up"]);
        let address = format!("{}/24", network.gateway());
        ip(&["addr", "add", &address, "dev", &network.name]);
        ip(&["link", "set", &network.name, "up"]);
        Some(network)
    }

    /// The namespace of the bridge.
    fn switch(&self) -> String {
        format!("{}-{BRIDGE}", self.name)
    }

    /// Whether a test that cannot run here fails instead of being skipped.
    pub(crate) fn is_required() -> bool {
        std::env::var_os(REQUIRED).is_some()
    }

    /// The address of the test itself.
    pub(crate) const fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.slot, 1)
    }

    pub(crate) fn host(&mut self) -> Host {
        let number = u8::try_from(self.hosts.len()).expect("a few hosts");
        let host = Host {
            namespace: format!("{}-{number}", self.name),
            address: Ipv4Addr::new(10, 213, self.slot, number + 2),
        };
        let (inside, port) = (host.namespace.as_str(), format!("port{number}"));
        let switch = self.switch();
        ip(&["netns", "add", inside]);
        self.hosts.push(host.clone());
        let cable = ["type", "veth", "peer", "name", "eth0", "netns", inside];
        ip(&[&["-n", &switch, "link", "add", &port], &cable[..]].concat());
        ip(&["-n", &switch, "link", "set", &port, "master", BRIDGE, "up"]);
        let address = format!("{}/24", host.address);
        ip(&["-n", inside, "addr", "add", &address, "dev", "eth0"]);
        ip(&["-n", inside, "link", "set", "lo", "up"]);
        ip(&["-n", inside, "link", "set", "eth0", "up"]);
        ip(&["-n", inside, "route", "add", "default", "via", &self.gateway().to_string()]);
        host.iptables(&["-N", FAULTS]);
        host.iptables(&["-A", "INPUT", "-j", FAULTS]);
        host
    }

    /// Every fault is over.
    pub(crate) fn heal(&self) {
        for host in &self.hosts {
            host.heal();
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in &self.hosts {
            remove_namespace(&host.namespace);
        }
        run_quietly("ip", &["link", "del", &self.name]);
        remove_namespace(&self.switch());
    }
}

impl Host {
    /// A command that runs in this host, as the account given.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program.as_ref());
        command
    }

    /// The namespace's file.
    pub(crate) fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.namespace)
    }

    /// Nothing that this one sends arrives here any more.
    pub(crate) fn is_deaf_to(&self, other: &Self) {
        self.iptables(&["-A", FAULTS, "-s", &other.address.to_string(), "-j", "DROP"]);
    }

    /// Nothing passes between the two, in either direction.
    pub(crate) fn cut(&self, other: &Self) {
        self.is_deaf_to(other);
        other.is_deaf_to(self);
    }

    /// So many packets in a hundred that this one sends do not arrive here.
    pub(crate) fn loses_packets_of(&self, other: &Self, percent: u8) {
        let (from, part) = (other.address.to_string(), format!("0.{percent:02}"));
        let often = ["-m", "statistic", "--mode", "random", "--probability", &part];
        let rule = [&["-A", FAULTS, "-s", &from][..], &often, &["-j", "DROP"]];
        self.iptables(&rule.concat());
    }

    /// UDP packets of this one, and only they, arrive here no more.
    pub(crate) fn is_deaf_to_packets_of(&self, other: &Self, port: u16) {
        let (from, port) = (other.address.to_string(), port.to_string());
        self.iptables(&["-A", FAULTS, "-s", &from, "-p", "udp", "--dport", &port, "-j", "DROP"]);
        self.iptables(&["-A", FAULTS, "-s", &from, "-p", "udp", "--sport", &port, "-j", "DROP"]);
    }

    /// Whatever comes in here for a TCP port is answered with a reset: the sender's connection is
    /// gone, and this end does not know.
    pub(crate) fn resets_streams_of(&self, other: &Self, port: u16) {
        self.resets(other, "--dport", port);
    }

    /// Whatever a TCP port of another host answers is reset before it arrives here.
    pub(crate) fn resets_answers_of(&self, other: &Self, port: u16) {
        self.resets(other, "--sport", port);
    }

    fn resets(&self, other: &Self, which: &str, port: u16) {
        let (from, port) = (other.address.to_string(), port.to_string());
        let rule = ["-A", FAULTS, "-s", &from, "-p", "tcp", which, &port];
        self.iptables(&[&rule[..], &["-j", "REJECT", "--reject-with", "tcp-reset"]].concat());
    }

    /// Sending to this one fails at once here; what it sends still arrives.
    pub(crate) fn has_no_way_to(&self, other: &Self) {
        let to = format!("{}/32", other.address);
        ip(&["-n", &self.namespace, "route", "replace", "blackhole", &to]);
    }

    /// What goes from here to a UDP port of another host goes to a port of the test instead.
    pub(crate) fn detour(&self, to: &Self, port: u16, proxy: std::net::SocketAddr) {
        let (host, port) = (to.address.to_string(), port.to_string());
        let rule = ["-t", "nat", "-A", "OUTPUT", "-p", "udp", "-d", &host, "--dport", &port];
        let proxy = proxy.to_string();
        self.iptables(&[&rule[..], &["-j", "DNAT", "--to-destination", &proxy]].concat());
    }

    /// What was cut here is whole again.
    pub(crate) fn heal(&self) {
        self.iptables(&["-F", FAULTS]);
        let routes = output("ip", &["-n", &self.namespace, "route", "show", "type", "blackhole"]);
        for to in routes.lines().filter_map(|line| line.split_whitespace().nth(1)) {
            ip(&["-n", &self.namespace, "route", "del", "blackhole", to]);
        }
    }

    fn iptables(&self, arguments: &[&str]) {
        let mut command = self.command("iptables");
        // Waits for its turn at the filter instead of failing.
        let output = command.arg("-w").args(arguments).output().expect("iptables runs");
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "iptables {arguments:?}: {why}");
    }
}

/// Whether this machine can have such networks.
fn possible() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("network namespaces need root".to_owned());
    }
    for program in ["ip", "iptables", "nsenter"] {
        let found = Command::new(program)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if found.is_err() {
            return Err(format!("{program} is missing: apt install iproute2 iptables"));
        }
    }
    let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
    let name = format!("{PREFIX}{}-{number}", std::process::id());
    let made = run_quietly("ip", &["netns", "add", &name]);
    run_quietly("ip", &["netns", "del", &name]);
    if made { Ok(()) } else { Err("`ip netns add` does not work here".to_owned()) }
}

/// Takes addresses that no other network on this machine uses. The lock is a socket without a
/// file: it goes with the process, however that ends.
fn slot() -> (u8, UnixListener) {
    for slot in 0..SLOTS {
        let name = format!("parlance-test-network-{slot}");
        let address = SocketAddr::from_abstract_name(name).expect("a short name");
        if let Ok(lock) = UnixListener::bind_addr(&address) {
            return (slot, lock);
        }
    }
    panic!("{SLOTS} test networks are in use");
}

/// Removes what runs that were killed left behind: names of ours with the id of a process that is
/// no more.
fn sweep() {
    let listed = |folder: &str| {
        let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
        names.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>()
    };
    for name in listed("/run/netns").iter().filter(|name| is_left_over(name)) {
        println!("a killed run left {name} behind: removed");
        remove_namespace(name);
    }
    for name in listed("/sys/class/net").iter().filter(|name| is_left_over(name)) {
        run_quietly("ip", &["link", "del", name]);
    }
}

fn is_left_over(name: &str) -> bool {
    let Some((id, _)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')) else {
        return false;
    };
    id.parse::<u32>().is_ok_and(|id| !Path::new("/proc").join(id.to_string()).exists())
}

/// Ends what still runs in a namespace of ours and removes it. Its end of the cable goes with it.
fn remove_namespace(name: &str) {
    for id in output("ip", &["netns", "pids", name]).split_whitespace() {
        run_quietly("kill", &["-s", "KILL", id]);
    }
    run_quietly("ip", &["netns", "del", name]);
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("ip runs");
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments:?}: {why}");
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// For what may be gone already.
fn run_quietly(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
