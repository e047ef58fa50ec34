//! Sends the spans of changes to an OTLP collector (HTTP, protobuf), off the way of messages: a task
//! on the control runtime takes them from their bounded queue. A collector that is slow or away costs spans, and
//! nothing else: they are counted, and said once a minute.

use std::time::{Duration, Instant};

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use parlance_actors::traces::{Span, Stage};
use parlance_actors::vocab::NodeId;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::assemble::VERSION;
use crate::failure::{Cause, Failure};

/// Spans of one request: as the specification of batch processors has it.
const BATCH_MAX: usize = 512;
/// How long spans gather.
const GATHER: Duration = Duration::from_secs(1);
/// How long one request and its repeats may take; meanwhile the queue takes what comes.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the last request may hold up the node's end.
const LAST_PATIENCE: Duration = Duration::from_millis(500);
/// How often a collector that does not take them is said to.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Who is traced, and where to.
pub(crate) struct Whose {
    pub(crate) endpoint: String,
    pub(crate) cluster: String,
    pub(crate) node: NodeId,
}

/// The task that sends spans.
pub(crate) struct Exporting {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Exporting {
    /// Begins to send.
    pub(crate) fn begin(
        whose: &Whose,
        spans: mpsc::Receiver<Span>,
        on: &Handle,
    ) -> Result<Self, Failure> {
        let exporter = exporter(whose)?;
        let stop = CancellationToken::new();
        let sender = Sender {
            exporter,
            node: whose.node,
            scope: InstrumentationScope::builder("parlance").with_version(VERSION).build(),
            lost: 0,
            said: None,
        };
        let task = on.spawn(sender.run(spans, stop.clone()));
        Ok(Self { stop, task })
    }

    /// Sends what waits, if it is taken soon, and ends.
    pub(crate) async fn close(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the task that sends spans ended badly");
        }
    }
}

/// The whole URL of a collector: OTLP's own path where none is given.
pub(crate) fn endpoint(url: &str) -> String {
    let place = url.trim_start_matches("http://");
    match place.split_once('/') {
        None | Some((_, "")) => format!("{}/v1/traces", url.trim_end_matches('/')),
        Some(_) => url.to_owned(),
    }
}

fn exporter(whose: &Whose) -> Result<opentelemetry_otlp::SpanExporter, Failure> {
    let built = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(HyperClient::with_default_connector(PATIENCE, None))
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(&whose.endpoint)
        .with_timeout(PATIENCE)
        .build();
    let mut exporter = built.map_err(|error| {
        Failure::new(Cause::Configuration, format!("spans cannot be sent: {error}"))
    })?;
    let instance = format!("{}/{}", whose.cluster, whose.node);
    let attributes = [
        KeyValue::new("service.version", VERSION),
        KeyValue::new("service.instance.id", instance),
        KeyValue::new("parlance.node", number(whose.node.0)),
    ];
    let resource =
        Resource::builder_empty().with_service_name("parlance").with_attributes(attributes).build();
    exporter.set_resource(&resource);
    Ok(exporter)
}

struct Sender {
    exporter: opentelemetry_otlp::SpanExporter,
    node: NodeId,
    scope: InstrumentationScope,
    /// Spans that were lost since that was last said.
    lost: u64,
    said: Option<Instant>,
}

impl Sender {
    async fn run(mut self, mut spans: mpsc::Receiver<Span>, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                taken = spans.recv_many(&mut batch, BATCH_MAX) => {
                    if taken == 0 {
                        return;
                    }
                }
                () = stop.cancelled() => break,
            }
            let full = async {
                while batch.len() < BATCH_MAX {
                    let room = BATCH_MAX - batch.len();
                    if spans.recv_many(&mut batch, room).await == 0 {
                        return;
                    }
                }
            };
            // What came by then goes; receiving is cancel-safe.
            tokio::select! {
                _ = tokio::time::timeout(GATHER, full) => {}
                () = stop.cancelled() => {}
            }
            tokio::select! {
                () = self.send(std::mem::take(&mut batch)) => {}
                () = stop.cancelled() => break,
            }
        }
        spans.close();
        while batch.len() < BATCH_MAX
            && let Ok(span) = spans.try_recv()
        {
            batch.push(span);
        }
        if !batch.is_empty() {
            // Nobody waits longer for what is only looked at.
            let _ = tokio::time::timeout(LAST_PATIENCE, self.send(batch)).await;
        }
    }

    async fn send(&mut self, batch: Vec<Span>) {
        let count = batch.len() as u64;
        let batch = batch.into_iter().map(|span| self.data(span)).collect();
        match self.exporter.export(batch).await {
            Ok(()) => {
                metrics::counter!("parlance_spans_total", "outcome" => "sent").increment(count);
                if self.said.take().is_some() {
                    tracing::info!(lost = self.lost, "the collector takes spans again");
                    self.lost = 0;
                }
            }
            Err(error) => {
                metrics::counter!("parlance_spans_total", "outcome" => "lost").increment(count);
                self.lost += count;
                if self.said.is_none_or(|said| said.elapsed() >= SAID_EVERY) {
                    self.said = Some(Instant::now());
                    tracing::warn!(%error, lost = self.lost, "the collector takes no spans");
                }
            }
        }
    }

    fn data(&self, span: Span) -> SpanData {
        let Span { trace, id, parent, began, ended, room, seq, stage } = span;
        let mut attributes = vec![
            KeyValue::new("parlance.room", room.room.to_string()),
            KeyValue::new("parlance.node", number(self.node.0)),
        ];
        attributes.extend(seq.map(|seq| KeyValue::new("parlance.seq", number(seq.0))));
        let (kind, status) = match &stage {
            Stage::Accept { refused: Some(code), .. } => {
                attributes.push(KeyValue::new("parlance.refused", code.as_str()));
                (SpanKind::Server, Status::error(code.as_str()))
            }
            Stage::Accept { .. } => (SpanKind::Server, Status::Unset),
            Stage::Commit { committed: false, .. } => {
                (SpanKind::Internal, Status::error("not committed"))
            }
            Stage::Commit { .. } | Stage::Hub { .. } | Stage::Socket { .. } => {
                (SpanKind::Internal, Status::Unset)
            }
        };
        attributes.extend(match &stage {
            Stage::Accept { bytes, repeated, .. } => vec![
                KeyValue::new("parlance.bytes", number(*bytes as u64)),
                KeyValue::new("parlance.repeated", *repeated),
            ],
            Stage::Commit { batch, .. } => {
                vec![KeyValue::new("parlance.batch_events", number(*batch as u64))]
            }
            Stage::Hub { followers } => {
                vec![KeyValue::new("parlance.followers", number(*followers as u64))]
            }
            Stage::Socket { bytes } => vec![KeyValue::new("parlance.bytes", number(*bytes as u64))],
        });
        SpanData {
            span_context: SpanContext::new(
                TraceId::from_bytes(trace),
                SpanId::from_bytes(id),
                TraceFlags::SAMPLED,
                false,
                TraceState::NONE,
            ),
            parent_span_id: parent.map_or(SpanId::INVALID, SpanId::from_bytes),
            parent_span_is_remote: false,
            span_kind: kind,
            name: stage.name().into(),
            start_time: began,
            end_time: ended,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: self.scope.clone(),
        }
    }
}

/// OTLP has signed numbers only.
fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
