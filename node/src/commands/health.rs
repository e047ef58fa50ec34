//! `parlance health`: whether the node that is configured here answers, for the health check of a
//! container, so that its image needs no other program. Exit code 0 when it does.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use clap::Args;

use super::print;
use crate::Settings;
use crate::config::{self, Config};
use crate::control::{Answer, Ask, call};
use crate::failure::{Cause, Failure};

/// Each of connecting, asking and reading. Orchestrators' own limits are longer.
const PATIENCE: Duration = Duration::from_secs(3);
/// The answer is a few lines.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;

/// Flags of `health`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Ask whether it is ready to serve, and not only whether it lives.
    #[arg(long)]
    ready: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Asks.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = config::load(&arguments.settings.flags(), false)?.config;
    let path = if arguments.ready { "/api/health/ready" } else { "/api/health" };
    // Its certificate is for the name that clients use, so nobody here could check it.
    if config.is_https() {
        return by_control_socket(&config, arguments.ready);
    }
    let address = reachable(config.http.listen);
    let answer = ask(address, path).map_err(|error| {
        let what = format!("http://{address}{path} does not answer: {error}");
        Failure::new(Cause::Other, what)
    })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or("no status");
    if status != "200" {
        let what = format!("http://{address}{path} says {status}: {body}");
        return Err(Failure::new(Cause::Other, what));
    }
    print(&format!("{}\n", body.trim_end()))
}

fn by_control_socket(config: &Config, ready: bool) -> Result<(), Failure> {
    if ready {
        let what = "with TLS only life can be asked for from here; ask \
                    https://…/api/health/ready for readiness";
        return Err(Failure::new(Cause::Other, what));
    }
    match call(&config.data_dir, &Ask::Report)? {
        Answer::Ok(_) => print("{\"status\":\"ok\"}\n"),
        Answer::Error(what) => Err(Failure::new(Cause::Other, what)),
    }
}

/// A node that listens on every address answers on its own.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn ask(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}
