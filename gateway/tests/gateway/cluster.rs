//! What administrators see of the cluster and do to it, and a node that loses its lease.

use std::time::Duration;

use parlance_actors::ports::Accounts as _;
use parlance_actors::ports::accounts::NewUser;
use parlance_actors::ports::cluster::RoomLoad;
use parlance_actors::vocab::{NodeId, RoomId, RoomRef, TenantId, Timestamp, UserId, Username};
use parlance_gateway::hash_password;
use serde_json::json;

use crate::harness::{PASSWORD, Server, config, request, text, until};

/// Signs in as a new administrator; gives the access token.
pub(crate) async fn administrator(server: &Server) -> String {
    let new = NewUser {
        tenant: TenantId::MAIN,
        id: UserId::generate(),
        username: Username::known("root".to_owned()),
        password: Some(hash_password(config().passwords, PASSWORD)),
        admin: true,
        at: Timestamp::now(),
    };
    server.accounts.create_user(new).await.expect("made");
    text(&server.login("root").await["access_token"])
}

#[tokio::test]
async fn only_administrators_see_the_cluster() {
    let server = Server::start().await;
    let (root, ann) = (administrator(&server).await, server.user("ann").await);
    let report = server.get("/api/cluster", &root).await.expect(200);
    assert_eq!(report["node"], 1);
    assert_eq!(report["lease"], true);
    assert_eq!(report["nodes"][0]["shards"], 256);
    assert_eq!(report["shards"].as_array().map(Vec::len), Some(256));
    assert_eq!(server.get("/api/cluster", "").await.status, 401);
    for (method, path, body) in [
        ("GET", "/api/cluster", None),
        ("GET", "/api/cluster/rooms", None),
        ("POST", "/api/cluster/shards/7/move", Some(json!({"to": 1}))),
        ("POST", "/api/cluster/shards/7/pin", Some(json!({"to": 1}))),
        ("POST", "/api/cluster/nodes/1/drain", None),
        ("POST", "/api/cluster/nodes/1/undrain", None),
        ("POST", "/api/cluster/nodes/1/remove", None),
    ] {
        let reply = server.call(method, path, &ann, body).await;
        assert_eq!(reply.code(), (403, "forbidden".into()), "{method} {path}");
    }
}

#[tokio::test]
async fn the_busiest_rooms_of_all_nodes_are_added_up_and_named() {
    let server = Server::start().await;
    let (root, ann) = (administrator(&server).await, server.user("ann").await);
    let room = server.room(&ann, "public").await;
    let load = |room: &str, events: f64, deliveries: f64, sessions| RoomLoad {
        room: RoomRef { tenant: TenantId::MAIN, room: room.parse().expect("an id") },
        events_per_second: events,
        deliveries_per_second: deliveries,
        sessions,
    };
    let direct = RoomId::direct(TenantId::MAIN, UserId::generate(), UserId::generate());
    let gone = RoomId::generate().to_string();
    let one = vec![load(&direct.to_string(), 1.0, 4.0, 2), load(&room, 2.0, 1.0, 1)];
    let two = vec![load(&room, 0.0, 30.0, 7), load(&gone, 0.5, 0.0, 0)];
    server.cluster.set_loads(NodeId(1), Some(one));
    server.cluster.set_loads(NodeId(2), Some(two));
    server.cluster.set_loads(NodeId(3), None);
    let busiest = server.get("/api/cluster/rooms", &root).await.expect(200);
    assert_eq!(busiest["silent"], json!([3]));
    let rooms = busiest["rooms"].as_array().expect("a list");
    let ids: Vec<String> = rooms.iter().map(|room| text(&room["room"])).collect();
    assert_eq!(ids, [room, direct.to_string(), gone]);
    assert_eq!(
        (&rooms[0]["sessions"], &rooms[0]["deliveries_per_second"]),
        (&json!(8), &json!(31.0))
    );
    assert_eq!((&rooms[0]["events_per_second"], &rooms[0]["owner"]), (&json!(2.0), &json!(1)));
    assert_eq!((&rooms[0]["kind"], rooms[0]["name"].is_string()), (&json!("public"), true));
    assert_eq!((&rooms[1]["kind"], &rooms[1]["name"]), (&json!("direct"), &json!(null)));
    assert_eq!((&rooms[2]["kind"], &rooms[2]["name"]), (&json!(null), &json!(null)));
}

#[tokio::test]
async fn an_administrator_moves_pins_drains_and_removes() {
    let server = Server::start().await;
    let root = administrator(&server).await;
    let post = async |path: &str, body| server.call("POST", path, &root, body).await;
    let refused = post("/api/cluster/shards/7/move", Some(json!({"to": 2}))).await;
    assert_eq!(refused.code(), (409, "conflict".into()));
    server.cluster.add_node(NodeId(2), "two");
    for (path, body) in [
        ("/api/cluster/shards/7/move", Some(json!({"to": 2}))),
        ("/api/cluster/shards/8/pin", Some(json!({"to": 2}))),
        ("/api/cluster/shards/9/pin", Some(json!({"to": null}))),
        ("/api/cluster/nodes/2/drain", None),
    ] {
        post(path, body).await.expect(204);
    }
    // Its owner gives the moving shard away.
    until(async || server.get("/api/cluster", &root).await.json()["shards"][7]["owner"] == 2).await;
    let report = server.get("/api/cluster", &root).await.expect(200);
    assert_eq!(report["shards"][8]["pinned_to"], 2);
    assert_eq!(report["nodes"][1]["state"], "draining");
    post("/api/cluster/nodes/2/undrain", None).await.expect(204);
    post("/api/cluster/nodes/2/remove", None).await.expect(204);
    let report = server.get("/api/cluster", &root).await.expect(200);
    assert_eq!(report["nodes"].as_array().map(Vec::len), Some(1));
    for (path, body) in [
        ("/api/cluster/shards/256/move", Some(json!({"to": 1}))),
        ("/api/cluster/shards/7/move", Some(json!({}))),
        ("/api/cluster/shards/7/pin", Some(json!({}))),
        ("/api/cluster/nodes/two/drain", None),
    ] {
        let reply = post(path, body).await;
        assert_eq!(reply.status, 400, "{path}: {reply:?}");
    }
    server.directory.cut();
    let reply = post("/api/cluster/nodes/1/drain", None).await;
    assert_eq!(reply.code(), (503, "unavailable".into()));
}

#[tokio::test]
async fn a_node_without_a_lease_is_not_ready_and_opens_no_socket() {
    let mut config = config();
    config.deadlines.lease = Duration::from_secs(60);
    let server = Server::with(config).await;
    let ann = server.user("ann").await;
    let mut socket = server.session(&ann).await;
    assert_eq!(server.get("/api/health/ready", "").await.status, 200);
    server.directory.cut();
    let reply = server.get("/api/health/ready", "").await;
    assert_eq!((reply.status, &reply.json()["lease"]["status"]), (503, &json!("failed")));
    assert_eq!(server.get("/api/health", "").await.status, 200, "it lives all the same");
    let upgrade = async || {
        let mut upgrade = request("GET", "/ws", &ann, None);
        for (name, value) in [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            upgrade.headers_mut().insert(name, value.parse().expect("a header"));
        }
        server.send(upgrade).await
    };
    let reply = upgrade().await;
    assert_eq!(reply.code(), (503, "unavailable".into()));
    let wait: u64 = reply.headers["retry-after"].to_str().expect("text").parse().expect("seconds");
    assert!((1..=6).contains(&wait), "{wait}");
    // A socket that is there goes on: the loss may be short.
    socket.say(json!({"type": "ping", "id": 9})).await;
    assert_eq!(socket.hear_type("ok").await["id"], 9);
    server.directory.heal();
    until(async || server.get("/api/health/ready", "").await.status == 200).await;
    server.session(&ann).await;
}

#[tokio::test]
async fn sockets_are_asked_to_move_once_for_each_loss_of_the_lease() {
    let mut config = config();
    config.deadlines.lease = Duration::from_millis(50);
    let server = Server::with(config).await;
    let ann = server.user("ann").await;
    for _ in 0..2 {
        let mut sockets = [server.session(&ann).await, server.session(&ann).await];
        server.directory.cut();
        for socket in &mut sockets {
            let (frames, code) = socket.closed().await;
            assert_eq!(code, 4005);
            let bye = frames.last().expect("bye");
            assert_eq!(bye["type"], "bye");
            assert!(bye["retry_after_ms"].is_number(), "{bye}");
        }
        server.directory.heal();
    }
    server.stopped().await;
}

#[tokio::test]
async fn a_page_of_history_without_a_lease_is_marked_stale() {
    let server = Server::start().await;
    let ann = server.user("ann").await;
    let room = server.room(&ann, "public").await;
    let path = format!("/api/rooms/{room}/messages");
    server.post(&path, &ann, json!({"body": "hello"})).await.expect(201);
    let mut socket = server.session(&ann).await;
    let ask = json!({"type": "history", "id": 5, "room": room});
    let fresh = server.get(&path, &ann).await.expect(200);
    assert!(fresh.get("stale").is_none(), "{fresh}");
    socket.say(ask.clone()).await;
    assert!(socket.hear_type("ok").await.get("stale").is_none());
    server.directory.cut();
    let stale = server.get(&path, &ann).await.expect(200);
    assert_eq!((&stale["stale"], &stale["messages"]), (&json!(true), &fresh["messages"]));
    socket.say(ask).await;
    assert_eq!(socket.hear_type("ok").await["stale"], true);
}

#[tokio::test]
async fn a_storm_of_upgrades_is_told_to_come_back_before_anything_is_read() {
    let mut config = config();
    config.rates.upgrades_per_second = 1;
    config.rates.upgrades_burst = 2;
    let server = Server::with(config).await;
    // However slow the machine: more than two in the same second. A token of nobody shows whether
    // the sign-in was looked at.
    let mut answers = Vec::new();
    until(async || {
        answers.push(server.try_ws("/ws", "nobody's token", None).await.err());
        answers.last() == Some(&Some(503))
    })
    .await;
    assert_eq!(answers[0], Some(401));
    assert!(answers.iter().all(|one| matches!(one, Some(401 | 503))), "{answers:?}");
    let ann = server.user("ann").await;
    until(async || server.try_ws("/ws", &ann, None).await.is_ok()).await;
}
