//! The node itself: health, metrics, the cluster, and the documents that describe all this.

use parlance_actors::ports::cluster::{BusiestRooms, ClusterReport};
use parlance_actors::vocab::Code;
use serde_json::{Value, json};

use super::call::{Book, Call, JSON, raw};
use crate::http::cluster::{Move, Pin};
use crate::http::health::{Live, Report};

pub(super) fn describe(book: &mut Book) {
    book.about(
        "Cluster",
        "For administrators: how the nodes and shards stand, and a hand on them.",
    );
    cluster(book);
    book.about("Node", "Health for balancers and operators, and the documents of the API.");
    health(book);
    documents(book);
}

fn for_administrators(call: Call<'_>) -> Call<'_> {
    call.signed().refuses(Code::Forbidden, "This is for administrators.")
}

fn of_shard(call: Call<'_>) -> Call<'_> {
    let shard = json!({"type": "integer", "minimum": 0, "maximum": 255});
    for_administrators(call)
        .path_part("shard", "The shard's number.", shard)
        .gives_nothing(204, "The directory has accepted it.")
        .refuses(Code::Conflict, "The directory does not do it; `detail` says why.")
}

fn of_node(call: Call<'_>) -> Call<'_> {
    let node = json!({"type": "integer", "minimum": 0, "maximum": u64::MAX});
    for_administrators(call)
        .path_part("node", "The node's id.", node)
        .no_body()
        .gives_nothing(204, "The directory has accepted it.")
        .refuses(Code::Conflict, "The directory does not do it; `detail` says why.")
}

fn cluster(book: &mut Book) {
    let example = json!({
        "cluster": "chat", "node": 1, "lease": true, "oldest_version": "0.1.0",
        "raft": {"leader": 1, "term": 3, "last_log": 812, "applied": 812, "voters": [1, 2, 3], "learners": [], "lag": [[2, 0], [3, 1]]},
        "nodes": [{
            "id": 1, "name": "node-1", "control": "10.0.0.1:7701", "data": "10.0.0.1:7702", "state": "up",
            "shards": 86, "rooms": 120, "sessions": 900, "events_per_second": 14.5, "version": "0.1.0",
        }],
        "shards": [{"shard": 0, "owner": 1, "epoch": 4, "gen": 1, "moving_to": null, "pinned_to": null}],
        "links": [{
            "peer": 2, "kind": "data", "connected": true, "version": 1, "relayed_by": null,
            "rtt_ms": 0.4, "queued_bytes": 0, "interruptions": 0,
        }],
        "moves": [{"shard": 0, "from": 2, "to": 1, "epoch": 4, "at": 1_782_000_000_000_u64, "cause": "rebalance"}],
    });
    for_administrators(book.get("/api/cluster", "How the cluster stands"))
        .about("From this node's memory. Alone, a node is a cluster of one.")
        .gives::<ClusterReport>(200, "The report.", example)
        .done();
    let example = json!({
        "rooms": [
            {
                "room": "0190a7c2-3f4e-7a10-8f7b-0c5d2e9b4a01", "kind": "public", "name": "general", "shard": 1, "owner": 1,
                "events_per_second": 12.4, "deliveries_per_second": 3_100.0, "sessions": 250,
            },
            {
                "room": "5b0c7f12-9a3e-8d44-b1c0-7e2f4a6d9c02", "kind": "direct", "name": null, "shard": 2, "owner": 2,
                "events_per_second": 1.2, "deliveries_per_second": 2.4, "sessions": 3,
            },
        ],
        "silent": [3],
    });
    for_administrators(book.get("/api/cluster/rooms", "The busiest rooms"))
        .about(
            "Asked of each node when the call comes, so it may take some seconds; a node that does not answer is in \
             `silent`. Rates are of the last five to ten seconds while somebody asks again and again, and of one \
             second before. Nothing that people wrote is in it.",
        )
        .gives::<BusiestRooms>(200, "The rooms.", example)
        .done();
    of_shard(book.post("/api/cluster/shards/{shard}/move", "Move a shard to a node"))
        .takes::<Move>(json!({"to": 2}))
        .done();
    of_shard(book.post("/api/cluster/shards/{shard}/pin", "Pin a shard to a node, or let it go"))
        .takes::<Pin>(json!({"to": 2}))
        .done();
    of_node(book.post("/api/cluster/nodes/{node}/drain", "Have a node give its shards away"))
        .done();
    of_node(book.post("/api/cluster/nodes/{node}/undrain", "Have a node take shards again")).done();
    of_node(book.post("/api/cluster/nodes/{node}/remove", "Take a node out for good")).done();
}

fn health(book: &mut Book) {
    book.get("/api/health", "Whether the process answers")
        .gives::<Live>(200, "It does.", json!({"status": "ok"}))
        .done_as_probe();
    let check = || json!({"status": "ok"});
    let ready = json!({
        "status": "ok", "database": check(), "directory": check(), "lease": check(),
        "disk": check(), "draining": check(),
    });
    let mut failed = ready.clone();
    failed["status"] = json!("failed");
    failed["database"] = json!({"status": "failed", "detail": "no answer in time"});
    book.get("/api/health/ready", "Whether the node can serve")
        .about("What a balancer asks.")
        .gives::<Report>(200, "It can.", ready)
        .gives::<Report>(503, "It cannot; the check that failed says why.", failed)
        .done_as_probe();
    book.get("/metrics", "Counts for Prometheus")
        .about("Only where metrics are on (`metrics.enabled`), and to who is in `metrics.from`.")
        .answer(200, "The text format, version 0.0.4.", "text/plain", text(), None)
        .refuses(Code::Forbidden, "The address is not in `metrics.from`.")
        .done();
}

fn text() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
    raw(json!({"type": "string"}))
}

fn documents(book: &mut Book) {
    let object = |about: &str| -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        raw(json!({"type": "object", "description": about}))
    };
    let none: Option<Value> = None;
    for (path, about) in [
        ("/api/openapi.json", "This document: OpenAPI 3.1"),
        ("/api/asyncapi.json", "The frames of the sockets: AsyncAPI 3.0"),
        ("/api/frames.json", "The same as JSON Schema 2020-12"),
    ] {
        book.get(path, about).answer(200, about, JSON, object(about), none.clone()).done();
    }
    book.get("/docs", "The reference as a page, with calls to try out")
        .answer(200, "The page.", "text/html", text(), None)
        .done();
    book.get("/docs/{file}", "A file of that page")
        .path_part(
            "file",
            "Its name.",
            json!({"type": "string", "enum": ["docs.css", "docs.js", "schema.js", "try.js"]}),
        )
        .answer(200, "The file.", "text/css", text(), None)
        .or_as("text/javascript", text())
        .refuses(Code::NotFound, "There is no such file.")
        .done();
    book.get("/", "The web client")
        .about("Or, in a build without it, the page of `/api`. Paths of the client's own, and its files, are answered too.")
        .answer(200, "The page.", "text/html", text(), None)
        .gives_nothing(304, "The page that the client has is the newest.")
        .done();
    book.get("/api", "The calls on one short page")
        .answer(200, "The page.", "text/html", text(), None)
        .done();
}
