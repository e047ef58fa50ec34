//! What the server answers.

use http::StatusCode;
use serde_json::{Value, json};

/// An error answer (RFC 8555, section 6.7).
#[derive(Clone)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) kind: String,
    pub(super) detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, kind: &str, detail: impl Into<String>) -> Self {
        Self { status, kind: kind.to_owned(), detail: detail.into() }
    }

    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    pub(super) fn missing() -> Self {
        Self::new(StatusCode::NOT_FOUND, "malformed", "there is no such thing here")
    }

    pub(super) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "unauthorized", detail)
    }

    pub(super) fn document(&self) -> Value {
        let kind = format!("urn:ietf:params:acme:error:{}", self.kind);
        json!({ "type": kind, "detail": self.detail, "status": self.status.as_u16() })
    }
}

/// A good answer.
pub(super) struct Good {
    pub(super) status: StatusCode,
    pub(super) location: Option<String>,
    pub(super) body: Body,
}

pub(super) enum Body {
    Json(Value),
    Chain(String),
    Nothing,
}

impl Good {
    pub(super) const fn of(body: Value) -> Self {
        Self { status: StatusCode::OK, location: None, body: Body::Json(body) }
    }

    pub(super) fn at(self, status: StatusCode, location: String) -> Self {
        Self { status, location: Some(location), ..self }
    }
}
