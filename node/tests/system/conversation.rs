//! One conversation on real input: WebSocket clients, HTTP and simple chat in one room, the node
//! killed and started again in the middle. Nothing lost, nothing twice, one order.

use parlance_benches::lean::Socket;
use parlance_client::protocol::simple::{SimpleClientFrame, SimpleMessage, SimpleServerFrame};
use parlance_client::protocol::{Kind, View};
use parlance_client::{Http, Server};
use tokio::time::{Duration, timeout};

use crate::harness::{Node, PACE};
use crate::town::{Person, Talk, Talker, Town, verdict};

/// Messages of the simple client in each life of the node.
const SIMPLE: u64 = 15;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_http_and_simple_chat_share_one_order_through_a_crash() {
    let mut node = Node::start(None).await;
    let town = Town::found(&node.http(), 4, 1, 4).await;
    let (lobby, room) = (town.rooms[0], town.rooms[1]);
    let manners = [
        (0, lobby, Talker::InTurn),
        (1, lobby, Talker::OverHttp),
        (0, room, Talker::BesideEachOther),
        (1, room, Talker::InTurn),
        (2, room, Talker::OverHttp),
    ];
    let mut talk = Talk::start(node.server(), &town, PACE, manners).await;
    let simple = &town.people[3];
    let before = chat_simply(&node.server(), simple, 1..=SIMPLE).await;
    talk.goes_on(40).await;
    node.kill9().await;
    node.start_again().await;
    let after = chat_simply(&node.server(), simple, SIMPLE + 1..=2 * SIMPLE).await;
    talk.goes_on(40).await;
    let (mut run, _) = talk.end(&town).await.kept();
    // Simple chat has no keys of its client's own, so its messages are looked at here.
    run.exclusive = false;
    verdict(&run, 80);

    let http = node.http();
    let said = lobby_messages(&http, simple, lobby).await;
    let own: Vec<&String> =
        said.iter().filter(|(name, _)| *name == simple.name).map(|(_, body)| body).collect();
    let expected: Vec<String> = (1..=2 * SIMPLE).map(simple_body).collect();
    assert_eq!(own, expected.iter().collect::<Vec<_>>(), "each once, and in order");
    for (name, heard) in [("before", before), ("after", after)] {
        let from = said.iter().position(|message| Some(message) == heard.first());
        let from = from.unwrap_or_else(|| panic!("{name}: {:?} is not there", heard.first()));
        assert_eq!(heard, said[from..from + heard.len()], "{name} the crash: the same order");
    }
    let shown = http
        .call("GET", "/api/chat/messages?limit=10", Some(&simple.token), None::<&()>)
        .await
        .expect("the last messages");
    let shown: Vec<SimpleMessage<'_>> = serde_json::from_slice(&shown).expect("an array");
    let shown: Vec<(String, String)> =
        shown.iter().map(|m| (m.username.to_string(), m.content.to_string())).collect();
    assert_eq!(shown, said[said.len() - 10..], "the last ones, oldest first");
}

fn simple_body(number: u64) -> String {
    format!("simply {number}")
}

/// Says each number once it has heard the one before come back, and gives all messages heard.
async fn chat_simply(
    server: &Server,
    person: &Person,
    numbers: std::ops::RangeInclusive<u64>,
) -> Vec<(String, String)> {
    let mut socket =
        Socket::connect_simple(server, &person.token).await.expect("simple chat is on");
    let (mut heard, mut notes) = (Vec::new(), Vec::new());
    for number in numbers {
        let say = SimpleClientFrame::Message { content: simple_body(number).into() };
        socket.put(&serde_json::to_vec(&say).expect("plain text"));
        socket.flush().await.expect("the node reads");
        let echoed = timeout(Duration::from_secs(60), async {
            loop {
                let text = socket.text().await.expect("the socket stays open");
                let frame = serde_json::from_slice(&text).expect("a frame of simple chat");
                match frame {
                    SimpleServerFrame::Message { username, content, .. } => {
                        let own = *username == person.name && *content == simple_body(number);
                        heard.push((username.to_string(), content.to_string()));
                        if own {
                            return;
                        }
                    }
                    SimpleServerFrame::System { message } => notes.push(message.to_string()),
                }
            }
        });
        assert!(echoed.await.is_ok(), "{number} never came back; the notes: {notes:?}");
    }
    heard
}

/// Every message of the lobby, in the order of its log.
async fn lobby_messages(http: &Http, person: &Person, lobby: uuid::Uuid) -> Vec<(String, String)> {
    let mut messages = Vec::new();
    let mut after = 0;
    loop {
        let page = http.history_after(&person.token, lobby, after, View::Log).await;
        let page = page.expect("everybody reads the lobby");
        for entry in &page.messages {
            after = entry.event.seq;
            if entry.event.kind == Kind::Message {
                let body = entry.event.body.as_ref().map_or_else(String::new, ToString::to_string);
                messages.push((entry.event.sender.username.to_string(), body));
            }
        }
        if !page.more {
            return messages;
        }
    }
}
