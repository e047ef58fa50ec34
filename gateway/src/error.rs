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

/// The one table of codes and HTTP statuses.
#[must_use]
pub const fn status(code: Code) -> StatusCode {
    match code {
        Code::BadRequest => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::NameTaken | Code::Conflict => StatusCode::CONFLICT,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::RateLimited | Code::LockedOut => StatusCode::TOO_MANY_REQUESTS,
        Code::Busy | Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Timeout => StatusCode::REQUEST_TIMEOUT,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
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
