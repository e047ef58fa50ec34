//! nginx, with TLS and HTTP/2 of its own.

use std::path::Path;
use std::time::Duration;

use crate::harness::{Certificate, Door, Node, Proxy, free_address};
use crate::talk::{a_huge_body_does_not_reach, all_is_as_without, an_idle_socket_stays};

/// What surrounds the example on a machine where it is installed.
const AROUND: &str = "
daemon off;
master_process off;
pid nginx.pid;
error_log stderr notice;
MODULES
events { }
http {
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include nginx.conf;
}
";

pub(crate) struct Behind {
    pub(crate) node: Node,
    pub(crate) proxy: Proxy,
    pub(crate) door: Door,
    plain: Door,
}

/// Starts both, with ModSecurity if its rules' file is given.
pub(crate) async fn behind_nginx(with_modsecurity: bool) -> Behind {
    let node = Node::start("trusted_proxies = [\"127.0.0.1\"]").await;
    let certificate = Certificate::make();
    let mut proxy = Proxy::prepare();
    let (secure, plain) = (free_address().await, free_address().await);
    let folder = proxy.folder.path().to_owned();
    let inside = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let of_certificate = certificate.certificate.to_string_lossy().into_owned();
    let of_key = certificate.key.to_string_lossy().into_owned();
    let (log, rules) = (inside("access"), inside("modsecurity.conf"));
    let node_address = node.address.to_string();
    let mut replaced = vec![
        ("listen 80;", 1, format!("listen {plain};")),
        ("listen 443 ssl", 1, format!("listen {secure} ssl")),
        ("/var/log/nginx/parlance.log", 2, log),
        ("/etc/ssl/parlance.crt", 1, of_certificate),
        ("/etc/ssl/parlance.key", 1, of_key),
    ];
    for node in ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"] {
        replaced.push((node, 1, node_address.clone()));
    }
    let mut modules = "";
    if with_modsecurity {
        modules = "load_module /usr/lib/nginx/modules/ngx_http_modsecurity_module.so;";
        replaced.push(("#modsecurity on;", 1, "modsecurity on;".to_owned()));
        replaced.push(("#modsecurity_rules_file", 1, "modsecurity_rules_file".to_owned()));
        replaced.push(("/etc/nginx/parlance-modsecurity.conf", 1, rules));
        proxy.example("modsecurity.conf", &[]);
    }
    let replaced: Vec<_> =
        replaced.iter().map(|(old, times, new)| (*old, *times, new.as_str())).collect();
    proxy.example("nginx.conf", &replaced);
    let main = proxy.write("main.conf", &AROUND.replace("MODULES", modules));
    let prefix = proxy.folder.path().to_string_lossy().into_owned();
    proxy.run("nginx", &["-p", &prefix, "-c", &main.to_string_lossy(), "-e", "stderr"], &[]);
    let door = Door::new(secure, Some(certificate.trust.clone()));
    proxy.ready(&door).await;
    Behind { node, proxy, door, plain: Door::new(plain, None) }
}

/// The log once it has the request: nginx writes it after its answer is sent.
async fn logged(path: &Path, request: &str) -> String {
    let written = async {
        loop {
            let log = std::fs::read_to_string(path).expect("a log");
            if log.contains(request) {
                return log;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), written).await.expect("the request is logged")
}

#[tokio::test]
async fn nginx_with_tls_and_http2() {
    let Behind { node, proxy, door, plain } = behind_nginx(false).await;
    all_is_as_without(&door, &node).await;
    let over_http2 = Door { http2: true, ..door.clone() };
    let reply = over_http2.ask("GET", "/api/health", "", None).await;
    reply.expect(200);
    assert!(reply.headers.contains_key("strict-transport-security"), "the node knows of TLS");
    door.ask("GET", "/metrics", "", None).await.expect(404);
    a_huge_body_does_not_reach(&door, &node).await;
    let sent_on = plain.ask("GET", "/r/1?a=b", "", None).await;
    assert_eq!(sent_on.status, 308);
    assert_eq!(sent_on.headers["location"], "https://chat.example.com/r/1?a=b");
    door.ask("GET", "/api/chat/messages?token=a-secret", "", None).await.expect(401);
    let access = logged(&proxy.folder.path().join("access"), "/api/chat/messages").await;
    assert!(!access.contains("a-secret"), "{access}");
}

#[tokio::test]
#[ignore = "idles for 100 seconds"]
async fn an_idle_socket_stays_behind_nginx() {
    let behind = behind_nginx(false).await;
    an_idle_socket_stays(&behind.door).await;
}
