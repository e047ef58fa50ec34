//! `/api/cluster`: how the cluster stands, and an operator's hand on it. For administrators only.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use parlance_actors::ports::DirectoryError;
use parlance_actors::vocab::{Code, NodeId, Refusal, ShardId};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Ids, JsonText, NoBody, Signed};

#[derive(Deserialize)]
pub(super) struct OfShard {
    shard: ShardId,
}

#[derive(Deserialize)]
pub(super) struct OfNode {
    node: NodeId,
}

/// `POST /api/cluster/shards/{shard}/move`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MoveShard)]
pub(super) struct Move {
    /// The node.
    #[schema(value_type = u64)]
    to: NodeId,
}

/// `POST /api/cluster/shards/{shard}/pin`; `null` lets it go.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PinShard)]
pub(super) struct Pin {
    /// The node, or null.
    #[schema(value_type = Option<u64>, required)]
    #[serde(deserialize_with = "Option::deserialize")]
    to: Option<NodeId>,
}

fn administrators_only(signed: &Signed) -> Result<(), Refusal> {
    if signed.0.caller.admin {
        return Ok(());
    }
    Err(Refusal::forbidden("this is for administrators"))
}

pub(super) async fn report(
    State(app): State<Arc<App>>,
    signed: Signed,
) -> Result<Response, ApiError> {
    administrators_only(&signed)?;
    Ok(Json(app.cluster.report()).into_response())
}

/// `GET /api/cluster/rooms`: of the caller's tenant.
pub(super) async fn rooms(
    State(app): State<Arc<App>>,
    signed: Signed,
) -> Result<Response, ApiError> {
    administrators_only(&signed)?;
    Ok(Json(app.cluster.busiest(signed.0.caller.tenant).await).into_response())
}

pub(super) async fn move_shard(
    State(app): State<Arc<App>>,
    signed: Signed,
    Ids(OfShard { shard }): Ids<OfShard>,
    body: JsonText,
) -> Result<Response, ApiError> {
    administrators_only(&signed)?;
    let Move { to } = body.read()?;
    noted(&signed, "move", shard.0.into());
    done(app.cluster.move_shard(shard, to).await)
}

pub(super) async fn pin_shard(
    State(app): State<Arc<App>>,
    signed: Signed,
    Ids(OfShard { shard }): Ids<OfShard>,
    body: JsonText,
) -> Result<Response, ApiError> {
    administrators_only(&signed)?;
    let Pin { to } = body.read()?;
    noted(&signed, "pin", shard.0.into());
    done(app.cluster.pin_shard(shard, to).await)
}

pub(super) async fn drain(
    State(app): State<Arc<App>>,
    signed: Signed,
    Ids(OfNode { node }): Ids<OfNode>,
    _: NoBody,
) -> Result<Response, ApiError> {
    administrators_only(&signed)?;
    noted(&signed, "drain", node.0);
    done(app.cluster.drain_node(node, true).await)
}

pub(super) async fn undrain(
    State(app): State<Arc<App>>,
    signed: Signed,
    Ids(OfNode { node }): Ids<OfNode>,
    _: NoBody,
) -> Result<Response, ApiError> {
    administrators_only(&signed)?;
    noted(&signed, "undrain", node.0);
    done(app.cluster.drain_node(node, false).await)
}

pub(super) async fn remove(
    State(app): State<Arc<App>>,
    signed: Signed,
    Ids(OfNode { node }): Ids<OfNode>,
    _: NoBody,
) -> Result<Response, ApiError> {
    administrators_only(&signed)?;
    noted(&signed, "remove", node.0);
    done(app.cluster.remove_node(node).await)
}

/// Who did what to the cluster is in the log.
fn noted(signed: &Signed, what: &'static str, which: u64) {
    let by = &*signed.0.caller.username;
    tracing::info!(by, what, which, "an administrator asks the cluster");
}

fn done(result: Result<(), DirectoryError>) -> Result<Response, ApiError> {
    match result {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(DirectoryError::Unavailable(why)) => {
            tracing::warn!(%why, "the directory did not answer an administrator");
            let detail = "whether it was done is unknown; look at the report, then ask again";
            Err(Refusal::unavailable(detail).into())
        }
        Err(error) => Err(Refusal::new(Code::Conflict, error.to_string()).into()),
    }
}
