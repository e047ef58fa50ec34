//! Health and metrics. Live means that the process answers; ready means that it can serve: the
//! database, the directory and the disk are fine, it has a lease, and it is not going away.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderMap, StatusCode, header};
use parlance_actors::vocab::{Code, Refusal};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::app::App;
use crate::error::ApiError;
use crate::limits::{READY_CACHE, READY_CHECK};
use crate::proxies::{Client, is_in};

/// The process answers.
#[derive(Serialize, ToSchema)]
pub(super) struct Live {
    /// Always `ok`.
    status: &'static str,
}

pub(super) async fn live() -> Response {
    Json(Live { status: "ok" }).into_response()
}

/// One readiness answer and when it was found.
#[derive(Clone)]
pub(crate) struct Ready {
    at: Instant,
    report: Report,
}

/// Whether the node can serve.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = Ready)]
pub(super) struct Report {
    /// `ok`, or `failed` when one check is.
    status: &'static str,
    /// The database answers.
    database: Check,
    /// The directory answers.
    directory: Check,
    /// The node heard from the leader in time.
    lease: Check,
    /// There is room for the data.
    disk: Check,
    /// The node stays.
    draining: Check,
}

/// One check.
#[derive(Clone, Serialize, ToSchema)]
pub(super) struct Check {
    /// `ok` or `failed`.
    status: &'static str,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
}

impl Check {
    const OK: Self = Self { status: "ok", detail: None };

    const fn failed(detail: &'static str) -> Self {
        Self { status: "failed", detail: Some(detail) }
    }

    fn is_ok(&self) -> bool {
        self.detail.is_none()
    }
}

pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    // These are told at once, and not only when the cached answer is old.
    let (draining, lost) = (app.closing.is_cancelled(), app.lease.is_lost());
    let known = app.ready.lock().clone().filter(|ready| ready.at.elapsed() < READY_CACHE);
    let mut report = match known {
        Some(ready) => ready.report,
        None => {
            let report = examine(&app).await;
            *app.ready.lock() = Some(Ready { at: Instant::now(), report: report.clone() });
            report
        }
    };
    if draining {
        report.draining = Check::failed("the node is going away");
        report.status = "failed";
    }
    if lost {
        report.lease = Check::failed("this node did not hear from the leader in time");
        report.status = "failed";
    }
    let status =
        if report.status == "ok" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}

async fn examine(app: &App) -> Report {
    let database = check("database", app.history.healthy());
    let directory = check("directory", app.directory.healthy());
    let disk = check("disk", disk(app));
    let (database, directory, disk) = tokio::join!(database, directory, disk);
    let fine = database.is_ok() && directory.is_ok() && disk.is_ok();
    let status = if fine { "ok" } else { "failed" };
    Report { status, database, directory, lease: Check::OK, disk, draining: Check::OK }
}

/// Runs one check. What it says goes to the log: the path is open to everybody.
async fn check<E: Display>(
    name: &'static str,
    asking: impl Future<Output = Result<(), E>>,
) -> Check {
    match tokio::time::timeout(READY_CHECK, asking).await {
        Ok(Ok(())) => Check::OK,
        Ok(Err(error)) => {
            tracing::warn!(check = name, %error, "not ready");
            Check::failed("it says no; the log has the cause")
        }
        Err(_) => {
            tracing::warn!(check = name, "not ready: no answer in time");
            Check::failed("no answer in time")
        }
    }
}

async fn disk(app: &App) -> Result<(), String> {
    let Some(folder) = app.config.data_dir.clone() else { return Ok(()) };
    let min = app.config.disk_free_min;
    // A network disk may hang.
    let free = tokio::task::spawn_blocking(move || free_bytes(&folder)).await;
    match free {
        Ok(Ok(free)) if free >= min => Ok(()),
        Ok(Ok(free)) => Err(format!("{free} bytes free; {min} are needed")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

fn free_bytes(folder: &Path) -> std::io::Result<u64> {
    let found = rustix::fs::statvfs(folder)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Counts for who watches the node: they cost a look at every session, and tell much of what goes on.
pub(super) async fn metrics(
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Some(handle) = &app.metrics else { return Err(Refusal::internal().into()) };
    // A proxy that is not trusted has this machine's address, or one beside it, and brings everybody.
    if !client.behind_proxy
        && (headers.contains_key("x-forwarded-for") || headers.contains_key("forwarded"))
    {
        let detail =
            format!("{} brings others, and is not in http.trusted_proxies", client.address);
        return Err(Refusal::new(Code::Forbidden, detail).into());
    }
    if !is_in(&app.config.metrics_from, client.address) {
        let detail = format!("{} is not in metrics.from of this node", client.address);
        return Err(Refusal::new(Code::Forbidden, detail).into());
    }
    let (outboxes, fullest) = app.chat.outbox_bytes();
    let gauges = [
        ("parlance_sessions", app.chat.sessions()),
        ("parlance_rooms_awake", app.chat.rooms_awake()),
        ("parlance_connections", app.connections.open()),
        ("parlance_sockets", app.sockets.len()),
        ("parlance_outbox_bytes", outboxes),
        ("parlance_outbox_bytes_max", fullest),
    ];
    for (name, value) in gauges {
        metrics::gauge!(name).set(f64::from(u32::try_from(value).unwrap_or(u32::MAX)));
    }
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((text, handle.render()).into_response())
}
