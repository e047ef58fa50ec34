//! The HTTP side: one connection for each request, because a client asks rarely and a connection
//! that the server has just closed must not turn a request into a guess.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use parlance_protocol::http as bodies;
use parlance_protocol::{Role, RoomKind, View};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{ClientError, Server, limits};

/// A pair of tokens, on its own.
pub type Tokens = bodies::Tokens<'static>;

/// The server's HTTP interface.
#[derive(Debug, Clone)]
pub struct Http {
    server: Server,
}

impl Http {
    /// The interface of this server.
    #[must_use]
    pub const fn new(server: Server) -> Self {
        Self { server }
    }

    /// The server.
    #[must_use]
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// Makes an account and answers its id.
    ///
    /// # Errors
    /// See [`ClientError`]; `name_taken` when there is one with this name.
    pub async fn register(&self, username: &str, password: &str) -> Result<Uuid, ClientError> {
        let body = bodies::Credentials { username: username.into(), password: password.into() };
        let answer = self.call("POST", "/api/auth/register", None, Some(&body)).await?;
        read::<bodies::Account<'_>>(&answer).map(|account| account.id)
    }

    /// Signs in.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn login(&self, username: &str, password: &str) -> Result<Tokens, ClientError> {
        let body = bodies::Credentials { username: username.into(), password: password.into() };
        tokens(&self.call("POST", "/api/auth/login", None, Some(&body)).await?)
    }

    /// Gives a refresh token back for a new pair.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn refresh(&self, refresh_token: &str) -> Result<Tokens, ClientError> {
        let body = bodies::Refresh { refresh_token: refresh_token.into() };
        tokens(&self.call("POST", "/api/auth/refresh", None, Some(&body)).await?)
    }

    /// Ends the sign-in that a refresh token belongs to.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn logout(&self, token: &str, refresh_token: &str) -> Result<(), ClientError> {
        let body = bodies::Refresh { refresh_token: refresh_token.into() };
        self.call("POST", "/api/auth/logout", Some(token), Some(&body)).await.map(drop)
    }

    /// A one-time ticket for the socket.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn ticket(&self, token: &str) -> Result<String, ClientError> {
        let answer = self.call("POST", "/api/auth/ws-ticket", Some(token), None::<&()>).await?;
        Ok(read::<bodies::Ticket<'_>>(&answer)?.ticket.0.into_owned())
    }

    /// Who the token belongs to.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn me(&self, token: &str) -> Result<(Uuid, String), ClientError> {
        let answer = self.call("GET", "/api/me", Some(token), None::<&()>).await?;
        let account = read::<bodies::Account<'_>>(&answer)?;
        Ok((account.id, account.username.0.into_owned()))
    }

    /// Makes a room.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn create_room(
        &self,
        token: &str,
        key: Uuid,
        name: &str,
        kind: RoomKind,
    ) -> Result<bodies::Room<'static>, ClientError> {
        let body = bodies::CreateRoom { key: Some(key), name: name.into(), kind, topic: None };
        let answer = self.call("POST", "/api/rooms", Some(token), Some(&body)).await?;
        read::<bodies::Room<'_>>(&answer).map(bodies::Room::into_owned)
    }

    /// A page of the public rooms whose names begin with `prefix`, and whether there are more.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn browse(
        &self,
        token: &str,
        prefix: &str,
        after: Option<Uuid>,
    ) -> Result<(Vec<bodies::Room<'static>>, bool), ClientError> {
        let after = after.map_or_else(String::new, |after| format!("&after={after}"));
        let path = format!("/api/rooms/browse?limit=200&prefix={}{after}", percent(prefix));
        let answer = self.call("GET", &path, Some(token), None::<&()>).await?;
        let page = read::<bodies::Rooms<'_>>(&answer)?;
        Ok((page.rooms.into_iter().map(bodies::Room::into_owned).collect(), page.more))
    }

    /// A page of the caller's rooms, and whether there are more.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn rooms(
        &self,
        token: &str,
        after: Option<Uuid>,
    ) -> Result<(Vec<bodies::Room<'static>>, bool), ClientError> {
        let path = after.map_or_else(
            || "/api/rooms?limit=200".to_owned(),
            |after| format!("/api/rooms?limit=200&after={after}"),
        );
        let answer = self.call("GET", &path, Some(token), None::<&()>).await?;
        let page = read::<bodies::Rooms<'_>>(&answer)?;
        Ok((page.rooms.into_iter().map(bodies::Room::into_owned).collect(), page.more))
    }

    /// Becomes a member of a public room.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn join(&self, token: &str, room: Uuid) -> Result<(), ClientError> {
        let path = format!("/api/rooms/{room}/join");
        self.call("POST", &path, Some(token), None::<&()>).await.map(drop)
    }

    /// Makes somebody a member, or gives a member another role. Without a role a new one becomes a plain
    /// member, and who is in the room keeps theirs: that is the refusal `conflict`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn put_member(
        &self,
        token: &str,
        room: Uuid,
        user: Uuid,
        role: Option<Role>,
    ) -> Result<(), ClientError> {
        let body = bodies::PutMember { key: None, role };
        let path = format!("/api/rooms/{room}/members/{user}");
        self.call("PUT", &path, Some(token), Some(&body)).await.map(drop)
    }

    /// Says something in a room.
    ///
    /// # Errors
    /// See [`ClientError`]; after [`ClientError::Unreachable`] repeat it with the same key.
    pub async fn send(
        &self,
        token: &str,
        room: Uuid,
        key: Uuid,
        body: &str,
    ) -> Result<bodies::Posted, ClientError> {
        let message = bodies::SendMessage {
            key: Some(key),
            body: body.into(),
            reply_to: None,
            thread: None,
            enc: false,
        };
        let path = format!("/api/rooms/{room}/messages");
        let called = self.call("POST", &path, Some(token), Some(&message));
        match timeout(limits::ANSWER_WAIT, called).await {
            Ok(answered) => read(&answered?),
            Err(_) => Err(ClientError::Unreachable("the answer took too long".into())),
        }
    }

    /// The page of a room's history right after `after`; 0 starts at the beginning.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn history_after(
        &self,
        token: &str,
        room: Uuid,
        after: u64,
        view: View,
    ) -> Result<bodies::Page<'static>, ClientError> {
        self.history(token, room, &format!("after={after}"), limits::PAGE_EVENTS, view).await
    }

    /// The last entries of a room's history.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn history_latest(
        &self,
        token: &str,
        room: Uuid,
        limit: u16,
        view: View,
    ) -> Result<bodies::Page<'static>, ClientError> {
        self.history(token, room, "", limit, view).await
    }

    async fn history(
        &self,
        token: &str,
        room: Uuid,
        range: &str,
        limit: u16,
        view: View,
    ) -> Result<bodies::Page<'static>, ClientError> {
        let view = match view {
            View::Folded => "folded",
            View::Log => "log",
        };
        let path = format!("/api/rooms/{room}/messages?limit={limit}&view={view}&{range}");
        let path = path.trim_end_matches('&');
        let answer = self.call("GET", path, Some(token), None::<&()>).await?;
        read::<bodies::Page<'_>>(&answer).map(bodies::Page::into_owned)
    }

    /// One exchange: the body of a success, or the refusal.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&impl Serialize>,
    ) -> Result<Bytes, ClientError> {
        let body = match body {
            Some(body) => serde_json::to_vec(body)
                .map_err(|error| ClientError::Unreadable(error.to_string()))?,
            None => Vec::new(),
        };
        let mut request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, self.server.authority())
            .header(http::header::CONNECTION, "close");
        if !body.is_empty() {
            request = request.header(http::header::CONTENT_TYPE, "application/json");
        }
        if let Some(token) = token {
            request = request.header(http::header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| ClientError::BadAddress(format!("{path:?}: {error}")))?;
        match timeout(limits::HTTP_WAIT, self.exchange(request)).await {
            Ok(answered) => answered,
            Err(_) => Err(ClientError::Unreachable("the answer took too long".into())),
        }
    }

    async fn exchange(&self, request: http::Request<Full<Bytes>>) -> Result<Bytes, ClientError> {
        let unreachable =
            |error: &dyn std::fmt::Display| ClientError::Unreachable(error.to_string());
        let stream = self.server.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| unreachable(&error))?;
        // Owned by this exchange: dropping the set ends the connection's task.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let response = sender.send_request(request).await.map_err(|error| unreachable(&error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, limits::ANSWER_BYTES_MAX);
        let body = body.collect().await.map_err(|error| unreachable(&error))?.to_bytes();
        if head.status.is_success() { Ok(body) } else { Err(refusal(head.status, &body)) }
    }
}

pub(crate) fn refusal(status: http::StatusCode, body: &[u8]) -> ClientError {
    match serde_json::from_slice::<bodies::ErrorBody<'_>>(body) {
        Ok(error) => ClientError::Refused {
            code: error.code.0.into_owned(),
            detail: error.detail.0.into_owned(),
            retry_after: error.retry_after_ms.map(Duration::from_millis),
        },
        Err(_) => {
            let text = String::from_utf8_lossy(&body[..body.len().min(200)]);
            ClientError::Unreadable(format!("status {status}, {text:?}"))
        }
    }
}

fn read<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|error| ClientError::Unreadable(error.to_string()))
}

/// A text in a query: everything but letters and digits as `%` and two hexadecimal digits.
fn percent(text: &str) -> String {
    let plain = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(plain).collect()
}

fn tokens(body: &[u8]) -> Result<Tokens, ClientError> {
    let tokens = read::<bodies::Tokens<'_>>(body)?;
    Ok(Tokens {
        access_token: tokens.access_token.into_owned(),
        token_type: tokens.token_type.into_owned(),
        expires_in: tokens.expires_in,
        refresh_token: tokens.refresh_token.into_owned(),
    })
}
