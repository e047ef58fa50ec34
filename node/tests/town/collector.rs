//! An OpenTelemetry collector of the tests' own: takes spans over HTTP as protobuf, and keeps the bytes as
//! they came.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// Far longer than anything here takes: only a failure waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Collector {
    pub(crate) url: String,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    /// Listens until the test's process ends.
    pub(crate) fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let heard = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let keeps = heard.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let keeps = keeps.clone();
                std::thread::spawn(move || while hear(&stream, &keeps).is_some() {});
            }
        });
        Self { url, heard }
    }

    /// Every byte that came, request by request.
    pub(crate) fn bytes(&self) -> Vec<Vec<u8>> {
        self.heard.lock().expect("not poisoned").clone()
    }

    /// Every span so far, with the attributes of its resource beside its own.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        for bytes in self.bytes() {
            let request = ExportTraceServiceRequest::decode(&bytes[..]).expect("spans");
            for resource in request.resource_spans {
                let about = resource.resource.expect("a resource").attributes;
                for mut span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                    span.attributes.extend(about.clone());
                    spans.push(span);
                }
            }
        }
        spans
    }

    /// The spans of the message with this seq in the room, as soon as they are as wanted.
    pub(crate) fn until(
        &self,
        room: &str,
        seq: u64,
        what: &str,
        holds: impl Fn(&[Span]) -> bool,
    ) -> Vec<Span> {
        let begun = Instant::now();
        loop {
            let mut spans = self.spans();
            spans.retain(|span| {
                text(span, "parlance.room") == room && number(span, "parlance.seq") == Some(seq)
            });
            if holds(&spans) {
                return spans;
            }
            assert!(begun.elapsed() < PATIENCE, "never: {what}; {:#?}", self.spans());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// One request of a connection; `None` at its end.
fn hear(stream: &TcpStream, keeps: &Mutex<Vec<Vec<u8>>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    assert!(first.starts_with("POST /v1/traces HTTP/1.1"), "{first}");
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    keeps.lock().expect("not poisoned").push(body);
    let answer =
        "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
    (&*stream).write_all(answer.as_bytes()).ok()
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    let AnyValue { value } = found.value.as_ref()?;
    value.as_ref()
}

/// An attribute that is a text; empty where there is none.
pub(crate) fn text<'a>(span: &'a Span, key: &str) -> &'a str {
    match value(&span.attributes, key) {
        Some(Value::StringValue(text)) => text,
        _ => "",
    }
}

/// An attribute that is a number.
pub(crate) fn number(span: &Span, key: &str) -> Option<u64> {
    match value(&span.attributes, key)? {
        Value::IntValue(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

/// The spans of a name.
pub(crate) fn called<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}
