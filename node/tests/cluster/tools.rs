//! The tools that the fault tests lean on do what they say: a cut cuts, a one-way cut is one-way,
//! the weather loses, delays and reorders, and a killed run leaves nothing for ever.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::network::{Host, Network};
use crate::harness::weather::{PacketProxy, Sky, StreamProxy, Weather};
use crate::town::Chance;

const PORT: u16 = 7701;

/// How often or how long a test does something: what the environment says, or else this.
pub(crate) fn setting(name: &str, usual: u16) -> u16 {
    std::env::var(name).map_or(usual, |text| text.parse().expect("a small number"))
}

/// A UDP socket on a host. A thread goes there to open it; the socket stays there for good.
fn socket(host: &Host, port: u16) -> UdpSocket {
    let (path, address) = (host.path(), SocketAddr::from((host.address, port)));
    let there = std::thread::spawn(move || {
        let namespace = std::fs::File::open(path).expect("the host is there");
        let network = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), network)
            .expect("root may go there");
        UdpSocket::bind(address).expect("a port of a host of our own")
    });
    let socket = there.join().expect("the thread does not panic");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket takes a timeout");
    socket
}

struct Three {
    // The network goes last.
    hosts: [Host; 3],
    sockets: [UdpSocket; 3],
    _network: Network,
}

impl Three {
    fn open() -> Option<Self> {
        let mut network = Network::open()?;
        let hosts = [network.host(), network.host(), network.host()];
        let sockets = [0, 1, 2].map(|place| socket(&hosts[place], PORT));
        Some(Self { hosts, sockets, _network: network })
    }

    fn say(&self, from: usize, to: usize, what: &str) {
        let to = (self.hosts[to].address, PORT);
        self.sockets[from].send_to(what.as_bytes(), to).expect("sending itself works");
    }

    /// The next packet that arrives there.
    fn hear(&self, at: usize) -> String {
        let mut packet = [0; 64];
        let (length, _) = self.sockets[at].recv_from(&mut packet).expect("something arrives");
        String::from_utf8_lossy(&packet[..length]).into_owned()
    }
}

/// Whatever is lost shows by what is said after it and arrives first: nothing waits for time.
#[test]
fn a_cut_cuts_both_ways_between_two_hosts_only_and_can_be_healed() {
    let Some(three) = Three::open() else { return };
    three.say(0, 1, "before");
    assert_eq!(three.hear(1), "before");
    three.hosts[0].cut(&three.hosts[1]);
    three.say(0, 1, "lost");
    three.say(2, 1, "from the third");
    assert_eq!(three.hear(1), "from the third");
    three.say(1, 0, "lost");
    three.say(2, 0, "from the third");
    assert_eq!(three.hear(0), "from the third");
    three.hosts[0].heal();
    three.hosts[1].heal();
    three.say(0, 1, "healed");
    assert_eq!(three.hear(1), "healed");
}

#[test]
fn a_one_way_cut_is_one_way() {
    let Some(three) = Three::open() else { return };
    three.hosts[0].is_deaf_to(&three.hosts[1]);
    three.say(1, 0, "lost");
    three.say(2, 0, "from the third");
    assert_eq!(three.hear(0), "from the third");
    three.say(0, 1, "the other way");
    assert_eq!(three.hear(1), "the other way");
}

#[test]
fn one_port_can_be_cut_alone() {
    let Some(three) = Three::open() else { return };
    let other = socket(&three.hosts[0], PORT + 1);
    three.hosts[0].is_deaf_to_packets_of(&three.hosts[1], PORT);
    three.say(1, 0, "lost");
    three.say(2, 0, "from the third");
    assert_eq!(three.hear(0), "from the third");
    let from = socket(&three.hosts[1], PORT + 1);
    from.send_to(b"another port", (three.hosts[0].address, PORT + 1)).expect("sending works");
    let mut packet = [0; 64];
    let (length, _) = other.recv_from(&mut packet).expect("it arrives");
    assert_eq!(&packet[..length], b"another port");
}

#[test]
fn a_host_without_a_way_cannot_send_and_still_hears() {
    let Some(three) = Three::open() else { return };
    three.hosts[0].has_no_way_to(&three.hosts[1]);
    let to = (three.hosts[1].address, PORT);
    three.sockets[0].send_to(b"no", to).expect_err("there is no way");
    three.say(1, 0, "the other way");
    assert_eq!(three.hear(0), "the other way");
    three.hosts[0].heal();
    three.say(0, 1, "healed");
    assert_eq!(three.hear(1), "healed");
}

#[test]
fn what_a_killed_run_left_behind_is_removed_by_the_next() {
    let Some(first) = Network::open() else { return };
    // No process of Linux has such an id.
    let name = "pl4999999-0-0";
    let made = Command::new("ip").args(["netns", "add", name]).status().expect("ip runs");
    assert!(made.success());
    drop(first);
    let _second = Network::open().expect("the first one was possible");
    let file = std::path::Path::new("/run/netns").join(name);
    assert!(!file.exists(), "{name} is still there");
}

#[test]
fn a_network_leaves_nothing_behind() {
    let Some(mut network) = Network::open() else { return };
    let host = network.host();
    let running = host.command("sleep").arg("600").spawn();
    let mut running = running.expect("a command runs on a host");
    let path = host.path();
    assert!(path.exists());
    // The command begins outside and enters a moment later.
    let network_of = |path: &Path| std::fs::metadata(path).map(|of| (of.dev(), of.ino())).ok();
    let inside = format!("/proc/{}/ns/net", running.id());
    while network_of(Path::new(&inside)) != network_of(&path) {
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(network);
    assert!(!path.exists(), "the namespace is still there");
    let ended = running.wait().expect("a child can be waited for");
    assert!(!ended.success(), "what ran there was ended: {ended}");
}

/// A host whose packets to another one go through the weather.
struct Outlook {
    sky: Sky,
    here: tokio::net::UdpSocket,
    there: tokio::net::UdpSocket,
    to: SocketAddr,
    _proxy: PacketProxy,
    _network: Network,
}

impl Outlook {
    async fn open(chance: &Chance) -> Option<Self> {
        let mut network = Network::open()?;
        let (near, far) = (network.host(), network.host());
        let sky = Sky::clear(chance);
        let to = SocketAddr::from((far.address, PORT));
        let proxy = PacketProxy::open(network.gateway().into(), to, sky.clone()).await;
        near.detour(&far, PORT, proxy.address);
        let sockets = [socket(&near, 0), socket(&far, PORT)].map(|socket| {
            socket.set_nonblocking(true).expect("a socket can wait elsewhere");
            tokio::net::UdpSocket::from_std(socket).expect("within a runtime")
        });
        let [here, there] = sockets;
        Some(Self { sky, here, there, to, _proxy: proxy, _network: network })
    }

    /// Sends numbers, then an end mark in clear weather, and gives what arrived before it. The
    /// numbers must be fewer than a socket holds.
    async fn send(&self, numbers: u8, weather: Weather) -> Vec<u8> {
        self.sky.turn(weather);
        for number in 0..numbers {
            self.here.send_to(&[number], self.to).await.expect("sending works");
            // Each is on its way through the proxy before the next.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let slowest = weather.delay_ms + weather.jitter_ms;
        tokio::time::sleep(Duration::from_millis(slowest + 200)).await;
        self.sky.turn(Weather::default());
        self.here.send_to(&[u8::MAX], self.to).await.expect("sending works");
        let mut heard = Vec::new();
        loop {
            let mut packet = [0; 8];
            let (_, _) = self.there.recv_from(&mut packet).await.expect("something arrives");
            if packet[0] == u8::MAX {
                return heard;
            }
            heard.push(packet[0]);
        }
    }
}

#[tokio::test]
async fn the_weather_loses_and_reorders_packets_and_clears_up() {
    let chance = Chance::seeded(0x5EED_0100);
    let Some(outlook) = Outlook::open(&chance).await else { return };
    let all: Vec<u8> = (0..100).collect();
    assert_eq!(outlook.send(100, Weather::default()).await, all, "clear weather");
    let lossy = Weather { lost_percent: 30, ..Weather::default() };
    let heard = outlook.send(100, lossy).await;
    assert!(!heard.is_empty() && heard.len() < 100, "{} of 100 arrived", heard.len());
    let jumpy = Weather { delay_ms: 10, jitter_ms: 100, ..Weather::default() };
    let heard = outlook.send(100, jumpy).await;
    assert_ne!(heard, all, "in another order");
    let set: BTreeSet<u8> = heard.into_iter().collect();
    assert!(set.into_iter().eq(all), "and all of them");
}

#[tokio::test]
async fn answers_come_back_through_the_weather_from_the_address_that_was_asked() {
    let chance = Chance::seeded(0x5EED_0101);
    let Some(outlook) = Outlook::open(&chance).await else { return };
    outlook.here.send_to(b"question", outlook.to).await.expect("sending works");
    let mut packet = [0; 64];
    let (_, from) = outlook.there.recv_from(&mut packet).await.expect("it arrives");
    outlook.there.send_to(b"answer", from).await.expect("sending works");
    let (length, from) = outlook.here.recv_from(&mut packet).await.expect("it arrives");
    assert_eq!((&packet[..length], from), (&b"answer"[..], outlook.to));
}

#[tokio::test]
async fn a_stream_proxy_swallows_answers_and_cuts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let to = listener.local_addr().expect("a bound listener");
    let proxy = StreamProxy::open([127, 0, 0, 1].into(), to).await;
    let mut client = TcpStream::connect(proxy.address).await.expect("the proxy listens");
    let (mut server, _) = listener.accept().await.expect("it is led here");
    server.write_all(b"1").await.expect("open");
    assert_eq!(client.read_u8().await.expect("it comes"), b'1');
    proxy.mute(true);
    server.write_all(b"2").await.expect("open");
    client.write_all(b"?").await.expect("open");
    assert_eq!(server.read_u8().await.expect("this way is open"), b'?');
    proxy.cut();
    assert_eq!(client.read(&mut [0; 8]).await.unwrap_or(0), 0, "the answer was swallowed");
    proxy.mute(false);
    let mut client = TcpStream::connect(proxy.address).await.expect("the proxy listens");
    let (mut server, _) = listener.accept().await.expect("it is led here");
    server.write_all(b"3").await.expect("open");
    assert_eq!(client.read_u8().await.expect("it comes"), b'3');
}
