//! The connection against a scripted server: what it says over several sockets, and what the
//! application hears. The script is one side of real WebSockets on loopback.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use parlance_client::protocol::client::{ClientFrame, Cursor};
use parlance_client::protocol::server::{
    Account, Answer, Bye, Error, Gap, Ok as OkFrame, Page, Posted, RoomAnswer, RoomAnswers,
    RoomEvent, ServerFrame, Welcome,
};
use parlance_client::protocol::{Entry, Event, Kind, Timestamp, User};
use parlance_client::{Change, ClientError, Connection, Options, Server, Update};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use uuid::Uuid;

const ROOM: Uuid = Uuid::from_u128(0x0A);
const ANN: Uuid = Uuid::from_u128(0x0B);
const PATIENCE: Duration = Duration::from_secs(20);

struct Script {
    listener: TcpListener,
}

/// One socket of the scripted server.
struct Line {
    stream: WebSocketStream<TcpStream>,
    waiting: VecDeque<String>,
}

/// Accepts the subprotocol that the client asks for, as the server does.
#[expect(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
fn agree(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let asked = request.headers().get("sec-websocket-protocol").expect("a subprotocol").clone();
    assert_eq!(asked, parlance_client::protocol::SUBPROTOCOL);
    response.headers_mut().insert("sec-websocket-protocol", asked);
    Ok(response)
}

impl Script {
    async fn open() -> (Self, Options) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound listener"));
        let server = Server::parse(&url).expect("a good address");
        (Self { listener }, Options { server, token: "token".into(), refresh_token: None })
    }

    /// Takes the next socket and welcomes it.
    async fn welcome(&self) -> Line {
        let (tcp, _) = timeout(PATIENCE, self.listener.accept())
            .await
            .expect("the client connects")
            .expect("a socket");
        let stream = tokio_tungstenite::accept_hdr_async(tcp, agree).await.expect("an upgrade");
        let mut line = Line { stream, waiting: VecDeque::new() };
        let hello = line.hear().await;
        let ClientFrame::Hello(hello) = parse(&hello) else { panic!("no hello: {hello}") };
        assert_eq!(hello.token.as_deref(), Some("token"));
        line.say(&ServerFrame::Welcome(Welcome {
            id: hello.id,
            session: Uuid::now_v7(),
            user: Account { id: ANN, username: "ann".into(), admin: false },
            heartbeat_ms: 30_000,
            rev: 0,
        }))
        .await;
        line
    }
}

fn parse(text: &str) -> ClientFrame<'_> {
    ClientFrame::parse(text.as_bytes()).expect("the client speaks the protocol")
}

impl Line {
    async fn hear(&mut self) -> String {
        if let Some(text) = self.waiting.pop_front() {
            return text;
        }
        loop {
            let heard = timeout(PATIENCE, self.stream.next()).await.expect("the client speaks");
            if let Some(Ok(Message::Text(text))) = heard {
                return text.to_string();
            }
        }
    }

    async fn say(&mut self, frame: &ServerFrame<'_>) {
        let text = Message::Text(frame.encode().into());
        self.stream.send(text).await.expect("the client listens");
    }

    /// Hears a subscribe, checks its cursor, and answers with the head.
    async fn follow(&mut self, cursor: Option<Cursor>, r#gen: u64, head: u64) {
        let text = self.hear().await;
        let ClientFrame::Subscribe(subscribe) = parse(&text) else { panic!("{text}") };
        assert_eq!(subscribe.rooms.0, [(ROOM, cursor)]);
        let room = RoomAnswer::Following { r#gen, first: 1, head };
        let answer = Answer::Subscribed(RoomAnswers(vec![(ROOM, room)]));
        let id = subscribe.id.expect("it wants an answer");
        self.say(&ServerFrame::Ok(OkFrame { id, answer })).await;
    }

    /// Hears a send: its number, key and body.
    async fn sent(&mut self) -> (u64, Uuid, String) {
        let text = self.hear().await;
        match parse(&text) {
            ClientFrame::Send(send) => {
                (send.id.expect("it wants an answer"), send.key, send.body.to_string())
            }
            other => panic!("no send: {other:?}"),
        }
    }

    async fn posted(&mut self, id: u64, seq: u64) {
        let posted = Posted { seq, sent_at: Timestamp(1), repeated: false };
        self.say(&ServerFrame::Ok(OkFrame { id, answer: Answer::Posted(posted) })).await;
    }

    async fn event(&mut self, seq: u64) {
        let event = RoomEvent { room: ROOM, r#gen: 1, event: event(seq) };
        self.say(&ServerFrame::Event(event)).await;
    }

    /// Hears a history frame after `after` and answers with `range`.
    async fn page(&mut self, after: u64, range: std::ops::RangeInclusive<u64>, as_of: u64) {
        let text = self.hear().await;
        let ClientFrame::History(history) = parse(&text) else { panic!("{text}") };
        assert_eq!((history.room, history.after), (ROOM, Some(after)));
        assert_eq!(history.view, parlance_client::protocol::View::Log);
        let more = *range.end() < as_of;
        let messages = range.map(|seq| Entry::from(event(seq))).collect();
        let page = Page { room: ROOM, r#gen: 1, messages, more, as_of, first: 1, stale: false };
        let id = history.id.expect("it wants an answer");
        self.say(&ServerFrame::Ok(OkFrame { id, answer: Answer::History(page) })).await;
    }
}

fn event(seq: u64) -> Event<'static> {
    let sender = User { id: ANN, username: "ann".into() };
    Event {
        body: Some(format!("body {seq}").into()),
        ..Event::new(seq, Kind::Message, sender, Timestamp(1), Uuid::from_u128(seq.into()))
    }
}

/// The seqs of the next `count` events.
async fn hear(connection: &mut Connection, count: usize) -> Vec<u64> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        let update = timeout(PATIENCE, connection.next()).await.expect("an update");
        if let Some(Update::Event { room, event, .. }) = update {
            assert_eq!(room, ROOM);
            seqs.push(event.seq);
        }
    }
    seqs
}

fn say(body: &str) -> Change {
    Change::Send { body: body.into(), reply_to: None }
}

#[tokio::test]
async fn a_send_without_an_answer_is_repeated_with_its_key_on_the_next_socket() {
    let (script, options) = Script::open().await;
    let server = tokio::spawn(async move {
        let mut line = script.welcome().await;
        let first = line.sent().await;
        let second = line.sent().await;
        // Gone without an answer.
        drop(line);
        let mut line = script.welcome().await;
        let (id, key, body) = line.sent().await;
        assert_eq!((key, &body), (first.1, &first.2));
        line.posted(id, 5).await;
        let (id, key, body) = line.sent().await;
        assert_eq!((key, &body), (second.1, &second.2));
        line.posted(id, 6).await;
        (script, line)
    });
    let connection = Connection::open(options).await.expect("a welcome");
    let sender = connection.sender();
    let one = sender.begin(ROOM, Uuid::now_v7(), say("one")).await.expect("taken");
    let two = sender.begin(ROOM, Uuid::now_v7(), say("two")).await.expect("taken");
    let seq = |answer: Result<Result<Posted, ClientError>, _>| match answer {
        Ok(Ok(posted)) => posted.seq,
        other => panic!("{other:?}"),
    };
    assert_eq!(seq(timeout(PATIENCE, one).await.expect("an answer")), 5);
    assert_eq!(seq(timeout(PATIENCE, two).await.expect("an answer")), 6);
    drop(server.await.expect("the script ends well"));
}

#[tokio::test]
async fn a_refusal_that_passes_is_repeated_and_one_that_stays_is_told() {
    let (script, options) = Script::open().await;
    let server = tokio::spawn(async move {
        let mut line = script.welcome().await;
        let (id, key, _) = line.sent().await;
        let refuse = |id, code: &'static str, retry_after_ms| {
            let (code, detail) = (code.into(), "no".into());
            ServerFrame::Error(Error { id: Some(id), code, detail, retry_after_ms })
        };
        line.say(&refuse(id, "busy", Some(20))).await;
        let (id, again, _) = line.sent().await;
        assert_eq!(again, key, "the same key");
        line.posted(id, 1).await;
        let (id, _, _) = line.sent().await;
        line.say(&refuse(id, "forbidden", None)).await;
        line
    });
    let connection = Connection::open(options).await.expect("a welcome");
    let posted = timeout(PATIENCE, connection.send(ROOM, "one")).await.expect("an answer");
    assert_eq!(posted.expect("it passes").seq, 1);
    let refused = timeout(PATIENCE, connection.send(ROOM, "two")).await.expect("an answer");
    assert!(matches!(refused, Err(ClientError::Refused { code, .. }) if code == "forbidden"));
    drop(server.await.expect("the script ends well"));
}

#[tokio::test]
async fn gaps_repeats_and_holes_reach_the_application_as_one_order() {
    let (script, options) = Script::open().await;
    let server = tokio::spawn(async move {
        let mut line = script.welcome().await;
        line.follow(Some(Cursor { r#gen: 1, seq: 2 }), 1, 4).await;
        for seq in [3, 4, 4, 3, 5] {
            line.event(seq).await;
        }
        line.say(&ServerFrame::Gap(Gap { room: ROOM, from: 6, to: 9 })).await;
        // Live events behind the gap come before it is filled.
        line.event(10).await;
        line.page(5, 6..=7, 10).await;
        line.page(7, 8..=10, 10).await;
        line.event(11).await;
        line
    });
    let mut connection = Connection::open(options).await.expect("a welcome");
    connection.subscribe(ROOM, Some(Cursor { r#gen: 1, seq: 2 })).await.expect("followed");
    assert_eq!(hear(&mut connection, 9).await, (3..=11).collect::<Vec<_>>());
    drop(server.await.expect("the script ends well"));
}

#[tokio::test]
async fn a_bye_is_followed_and_the_next_socket_resumes_by_the_cursor() {
    let (script, options) = Script::open().await;
    let server = tokio::spawn(async move {
        let mut line = script.welcome().await;
        line.follow(None, 1, 7).await;
        line.event(8).await;
        let (code, detail) = ("unavailable".into(), "going away".into());
        line.say(&ServerFrame::Bye(Bye { code, detail, retry_after_ms: Some(30) })).await;
        let mut line = script.welcome().await;
        line.follow(Some(Cursor { r#gen: 1, seq: 8 }), 1, 9).await;
        line.event(9).await;
        line
    });
    let mut connection = Connection::open(options).await.expect("a welcome");
    connection.subscribe(ROOM, None).await.expect("followed");
    assert_eq!(hear(&mut connection, 2).await, [8, 9]);
    drop(server.await.expect("the script ends well"));
}

#[tokio::test]
async fn an_application_that_is_behind_gets_everything_later_and_answers_at_once() {
    const MANY: u64 = 2_000;
    let (script, options) = Script::open().await;
    let server = tokio::spawn(async move {
        let mut line = script.welcome().await;
        line.follow(None, 1, 0).await;
        for seq in 1..=MANY {
            line.event(seq).await;
        }
        let (id, _, _) = line.sent().await;
        line.posted(id, MANY + 1).await;
        // From here on it only gives what is asked for.
        let mut at = None;
        while at != Some(MANY) {
            let text = line.hear().await;
            let ClientFrame::History(history) = parse(&text) else { panic!("{text}") };
            let after = history.after.expect("it says from where");
            assert!(at.is_none_or(|at| at == after), "one page after the other");
            let last = MANY.min(after + 200);
            line.waiting.push_front(text);
            line.page(after, after + 1..=last, MANY).await;
            at = Some(last);
        }
        line
    });
    let mut connection = Connection::open(options).await.expect("a welcome");
    connection.subscribe(ROOM, None).await.expect("followed");
    // Nobody takes updates, and the answer comes all the same.
    let posted = timeout(PATIENCE, connection.send(ROOM, "hi")).await.expect("an answer");
    assert_eq!(posted.expect("it is posted").seq, MANY + 1);
    let all = usize::try_from(MANY).expect("a small number");
    assert_eq!(hear(&mut connection, all).await, (1..=MANY).collect::<Vec<_>>());
    drop(server.await.expect("the script ends well"));
}

#[tokio::test]
async fn another_generation_is_told_as_a_reset() {
    let (script, options) = Script::open().await;
    let server = tokio::spawn(async move {
        let mut line = script.welcome().await;
        line.follow(Some(Cursor { r#gen: 1, seq: 50 }), 2, 40).await;
        line
    });
    let mut connection = Connection::open(options).await.expect("a welcome");
    connection.subscribe(ROOM, Some(Cursor { r#gen: 1, seq: 50 })).await.expect("followed");
    loop {
        match timeout(PATIENCE, connection.next()).await.expect("an update") {
            Some(Update::Reset { room, r#gen, head }) => {
                assert_eq!((room, r#gen, head), (ROOM, 2, 40));
                break;
            }
            Some(_) => {}
            None => panic!("it ended"),
        }
    }
    drop(server.await.expect("the script ends well"));
}

/// Answers the next upgrade over HTTP instead of opening a socket.
async fn refuse(script: &Script, answer: &str) {
    let (mut tcp, _) = timeout(PATIENCE, script.listener.accept())
        .await
        .expect("the client connects")
        .expect("a socket");
    let mut asked = vec![0; 4 * 1024];
    let _ = tcp.read(&mut asked).await.expect("the client asks");
    tcp.write_all(answer.as_bytes()).await.expect("the client listens");
}

#[tokio::test]
async fn a_refused_upgrade_is_repeated_when_the_server_said() {
    const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
        retry-after: 1\r\ncontent-length: 60\r\n\r\n\
        {\"code\":\"busy\",\"detail\":\"too many now\",\"retry_after_ms\":210 }";
    // A balancer knows no words of ours.
    const OTHER: &str = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
        content-length: 9\r\n\r\nno server";
    let (script, options) = Script::open().await;
    let opening = tokio::spawn(Connection::open(options.clone()));
    refuse(&script, BUSY).await;
    let first = opening.await.expect("it ends").expect_err("the first try is the caller's");
    let ClientError::Refused { retry_after, .. } = &first else { panic!("{first}") };
    assert_eq!(*retry_after, Some(Duration::from_millis(210)));
    assert!(first.can_repeat() && first.to_string().contains("too many now"), "{first}");

    let opening = tokio::spawn(Connection::open(options));
    let line = script.welcome().await;
    let mut connection = opening.await.expect("it ends").expect("a connection");
    drop(line);
    let mut pauses = Vec::new();
    for answer in [BUSY, OTHER] {
        refuse(&script, answer).await;
        while let Some(update) = connection.next().await {
            if let Update::Disconnected { why, pause } = update
                && !why.contains("closed")
                && !why.contains("reset")
            {
                pauses.push(pause);
                break;
            }
        }
    }
    assert_eq!(pauses, [Duration::from_millis(210), Duration::from_secs(1)]);
    script.welcome().await;
}
