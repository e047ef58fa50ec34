//! What a client gets instead of a success: `{"code","detail"}` with the right status, from one
//! table. It decides nothing about what is refused.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use parlance_actors::ports::AccountError;
use parlance_actors::vocab::{Code, Refusal};
use parlance_protocol::http::ErrorBody;

/// A refusal on its way to an HTTP client.
#[derive(Debug)]
pub(crate) struct ApiError(pub(crate) Refusal);

/// What a code means to a client.
#[derive(Debug, Clone, Copy)]
pub struct Meaning {
    /// The status of an HTTP answer with it.
    pub status: StatusCode,
    /// Whether the same request can succeed later, and how to repeat it.
    pub retry: Retry,
    /// What happened, for a person.
    pub text: &'static str,
}

/// Whether repeating helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same request gets the same answer.
    No,
    /// After refreshing the tokens or signing in.
    SignIn,
    /// After `retry_after_ms`, with the same key.
    Later,
    /// Once, with the same key; if it stays, tell whoever runs the server.
    Once,
}

impl Retry {
    /// As the reference says it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::SignIn => "after signing in",
            Self::Later => "after retry_after_ms, with the same key",
            Self::Once => "once, with the same key",
        }
    }
}

/// The one table of codes: their HTTP status, whether to repeat, and what they mean. The answers,
/// `/docs`, the OpenAPI document and ERRORS.md are made from it.
#[must_use]
pub const fn meaning(code: Code) -> Meaning {
    use Retry::{Later, No, Once, SignIn};
    let (status, retry, text) = match code {
        Code::BadRequest => (
            StatusCode::BAD_REQUEST,
            No,
            "The request or frame is not what the protocol asks for; `detail` names the field and what is allowed.",
        ),
        Code::Unauthenticated => (
            StatusCode::UNAUTHORIZED,
            SignIn,
            "No credential, or one that is wrong or has run out.",
        ),
        Code::Forbidden => (StatusCode::FORBIDDEN, No, "The caller is known and may not do this."),
        Code::NotFound => (
            StatusCode::NOT_FOUND,
            No,
            "There is no such thing, or none that the caller may know of.",
        ),
        Code::MethodNotAllowed => {
            (StatusCode::METHOD_NOT_ALLOWED, No, "The path has other methods: those in `Allow`.")
        }
        Code::NameTaken => (StatusCode::CONFLICT, No, "The name is in use; choose another one."),
        Code::Conflict => {
            (StatusCode::CONFLICT, No, "The thing is not in the state that the change needs.")
        }
        Code::TooLarge => {
            (StatusCode::PAYLOAD_TOO_LARGE, No, "Larger than the bound that `detail` names.")
        }
        Code::UnsupportedMediaType => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            No,
            "The body must be JSON: `Content-Type: application/json`.",
        ),
        Code::RateLimited => (StatusCode::TOO_MANY_REQUESTS, Later, "Too many in a time."),
        Code::LockedOut => (
            StatusCode::TOO_MANY_REQUESTS,
            Later,
            "Too many failed sign-ins; the account rests for a while.",
        ),
        Code::Busy => {
            (StatusCode::SERVICE_UNAVAILABLE, Later, "A queue is full. Nothing was done.")
        }
        Code::Unavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            Later,
            "It cannot be served now. Whether a change was done may be unknown: the same key finds out.",
        ),
        Code::Timeout => {
            (StatusCode::REQUEST_TIMEOUT, Once, "The client took too long to send its request.")
        }
        Code::Internal => (
            StatusCode::INTERNAL_SERVER_ERROR,
            Once,
            "A defect of the server; its log has the cause under the answer's `x-request-id`.",
        ),
    };
    Meaning { status, retry, text }
}

/// The HTTP status of a code.
#[must_use]
pub const fn status(code: Code) -> StatusCode {
    meaning(code).status
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Refusal { code, detail, retry_after } = self.0;
        let retry_after_ms = retry_after.map(milliseconds);
        let body =
            ErrorBody { code: code.as_str().into(), detail: (&*detail).into(), retry_after_ms };
        let mut response = (status(code), Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(ms) = retry_after_ms {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000).max(1)));
        }
        match code {
            Code::Unauthenticated => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // The rest of the body is not read.
            Code::TooLarge | Code::Timeout => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

pub(crate) fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The cause goes to the log, the client learns that it may try again.
pub(crate) fn account_refusal(error: AccountError) -> Refusal {
    match error {
        AccountError::NameTaken => Refusal::new(Code::NameTaken, "that username is in use"),
        AccountError::NoSuchUser => no_such_user(),
        AccountError::Busy => Refusal::busy("too many people are looked up at once; try again"),
        AccountError::Unavailable(why) => {
            tracing::warn!(%why, "accounts did not answer");
            Refusal::unavailable("accounts are unavailable; try again")
        }
    }
}

pub(crate) fn no_such_user() -> Refusal {
    Refusal::new(Code::NotFound, "no such user")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_an_error_status_and_a_word() {
        for code in Code::ALL {
            let status = status(code);
            assert!(status.is_client_error() || status.is_server_error(), "{code:?}");
            let response = ApiError(Refusal::new(code, "x")).into_response();
            assert_eq!(response.status(), status);
        }
    }

    #[test]
    fn a_retry_is_rounded_up_to_whole_seconds() {
        let refusal = Refusal::busy("x").retry_after(std::time::Duration::from_millis(1_200));
        let response = ApiError(refusal).into_response();
        assert_eq!(response.headers()["retry-after"], "2");
    }
}
