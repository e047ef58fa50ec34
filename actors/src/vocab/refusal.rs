//! Why something was not done: one table of codes for HTTP and socket.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// The reason's machine-readable word. The gateway maps each to an HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request or frame is not what the protocol asks for.
    BadRequest,
    /// No credential, or one that is wrong or has run out.
    Unauthenticated,
    /// Known, and not allowed.
    Forbidden,
    /// No such thing, or none that the caller may know of.
    NotFound,
    /// The method is not one that this path has.
    MethodNotAllowed,
    /// The name is in use.
    NameTaken,
    /// The thing is not in the state that the change needs.
    Conflict,
    /// Larger than the bound that `detail` names.
    TooLarge,
    /// The body's media type is not one that this path takes.
    UnsupportedMediaType,
    /// Too many in a time; repeat after `retry_after`.
    RateLimited,
    /// Too many failed sign-ins; the account rests for `retry_after`.
    LockedOut,
    /// A queue is full; repeat after `retry_after`.
    Busy,
    /// Cannot be served now, and whether it was done may be unknown; repeat with the same key.
    Unavailable,
    /// The client took too long.
    Timeout,
    /// A defect of the server. The log has the cause.
    Internal,
}

impl Code {
    /// Every code, for the reference and its tests.
    pub const ALL: [Self; 15] = [
        Self::BadRequest,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NameTaken,
        Self::Conflict,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::RateLimited,
        Self::LockedOut,
        Self::Busy,
        Self::Unavailable,
        Self::Timeout,
        Self::Internal,
    ];

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::NameTaken => "name_taken",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::RateLimited => "rate_limited",
            Self::LockedOut => "locked_out",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
        }
    }
}

/// A refusal: nothing was changed, except that after [`Code::Unavailable`] a change may still
/// turn out done, which repeating it with the same key reveals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The machine-readable reason.
    pub code: Code,
    /// What is wrong and what is allowed, for a person.
    pub detail: Cow<'static, str>,
    /// When repeating it can help.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal without a time to retry after.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), retry_after: None }
    }

    /// The same refusal, to be retried after a while.
    #[must_use]
    pub const fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// `bad_request` with what is wrong and what is allowed.
    #[must_use]
    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::BadRequest, detail)
    }

    /// `forbidden` with what it would take.
    #[must_use]
    pub fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Forbidden, detail)
    }

    /// `not_found`: the same words for a room that is missing and one that the caller may not see.
    #[must_use]
    pub fn no_such_room() -> Self {
        Self::new(Code::NotFound, "no such room, or you are not in it")
    }

    /// `unavailable`: repeat with the same key.
    #[must_use]
    pub fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Unavailable, detail).retry_after(crate::limits::UNAVAILABLE_RETRY)
    }

    /// `busy`: a queue is full.
    #[must_use]
    pub fn busy(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Busy, detail).retry_after(crate::limits::BUSY_RETRY)
    }

    /// `internal`: a defect, whose cause is in the log.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(Code::Internal, "a defect of the server; the log has the cause")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

impl std::error::Error for Refusal {}
