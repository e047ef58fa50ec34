//! A browser's sign-in: cookies, what they look like, who may use them, and how they end.

use parlance_gateway::config::Tls;
use serde_json::{Value, json};

use crate::harness::{PASSWORD, Reply, Server, config, exchange, request, text, until, with};

/// What the client's own code says of itself.
const CODE: (&str, &str) = ("x-parlance-client", "web");
const EVIL: (&str, &str) = ("origin", "https://evil.example");

/// What a browser keeps of an answer: names, values, and the attributes as they came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Jar(Vec<(String, String, String)>);

impl Jar {
    fn of(reply: &Reply) -> Self {
        let cookies = reply.headers.get_all("set-cookie").iter().map(|cookie| {
            let cookie = cookie.to_str().expect("text");
            let (pair, attributes) = cookie.split_once("; ").expect("attributes");
            let (name, value) = pair.split_once('=').expect("a value");
            (name.to_owned(), value.to_owned(), attributes.to_owned())
        });
        Self(cookies.collect())
    }

    fn attributes(&self, name: &str) -> &str {
        let cookie = self.0.iter().find(|(one, ..)| one == name);
        &cookie.unwrap_or_else(|| panic!("no {name} in {self:?}")).2
    }

    fn value(&self, name: &str) -> &str {
        &self.0.iter().find(|(one, ..)| one == name).expect("the cookie").1
    }

    pub(crate) fn line(&self) -> String {
        let pairs: Vec<_> =
            self.0.iter().map(|(name, value, _)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    /// Both cookies are taken away.
    fn is_cleared(&self) -> bool {
        self.0.len() == 2
            && self.0.iter().all(|(_, value, rest)| value.is_empty() && rest.contains("Max-Age=0"))
    }
}

fn sign_in_request(username: &str) -> http::Request<http_body_util::Full<bytes::Bytes>> {
    let body = json!({"username": username, "password": PASSWORD, "cookie": true});
    request("POST", "/api/auth/login", "", Some(body))
}

pub(crate) async fn sign_in(server: &Server, username: &str) -> Jar {
    let reply = server.send(sign_in_request(username)).await;
    reply.expect(200);
    Jar::of(&reply)
}

async fn send(
    server: &Server,
    method: &str,
    path: &str,
    body: Option<Value>,
    headers: &[(&'static str, &str)],
) -> Reply {
    server.send(with(request(method, path, "", body), headers)).await
}

async fn me(server: &Server, jar: &Jar) -> u16 {
    send(server, "GET", "/api/me", None, &[("cookie", &jar.line())]).await.status
}

#[tokio::test]
async fn a_browser_signs_in_without_a_token_in_the_body() {
    let server = Server::start().await;
    let id = server.register("Ann").await;
    let reply = server.send(sign_in_request("ann")).await;
    let answer = json!({"id": id, "username": "Ann", "admin": false, "expires_in": 1_800});
    assert_eq!(reply.expect(200), answer);
    assert_eq!(reply.headers["cache-control"], "no-store");
    let jar = Jar::of(&reply);
    assert_eq!(
        jar.attributes("parlance-access"),
        "HttpOnly; SameSite=Strict; Path=/; Max-Age=1800"
    );
    assert_eq!(
        jar.attributes("parlance-refresh"),
        "HttpOnly; SameSite=Strict; Path=/api/auth; Max-Age=2592000"
    );
    let me = send(&server, "GET", "/api/me", None, &[("cookie", &jar.line())]).await.expect(200);
    assert_eq!(me, json!({"id": id, "username": "Ann"}));
    // Who does not ask for cookies gets none, and tokens as before.
    let body = json!({"username": "ann", "password": PASSWORD, "cookie": false});
    let reply = server.post("/api/auth/login", "", body).await;
    assert!(reply.expect(200)["refresh_token"].is_string());
    assert!(!reply.headers.contains_key("set-cookie"));
}

#[tokio::test]
async fn a_wrong_password_sets_no_cookie() {
    let server = Server::start().await;
    server.register("ann").await;
    let body = json!({"username": "ann", "password": "Wrong12345", "cookie": true});
    let reply = server.post("/api/auth/login", "", body).await;
    assert_eq!(reply.code(), (401, "unauthenticated".into()));
    assert!(!reply.headers.contains_key("set-cookie"));
    let body = json!({"username": "ann", "password": PASSWORD, "cookie": "yes"});
    assert_eq!(server.post("/api/auth/login", "", body).await.code().0, 400);
}

#[tokio::test]
async fn only_a_trusted_proxy_says_that_it_was_tls() {
    let forwarded = ("x-forwarded-proto", "https");
    let server = Server::start().await;
    server.register("ann").await;
    let reply = server.send(with(sign_in_request("ann"), &[forwarded])).await;
    assert!(!Jar::of(&reply).attributes("parlance-access").contains("Secure"));

    let mut config = config();
    config.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a network")];
    let server = Server::with(config).await;
    server.register("ann").await;
    let reply = server.send(with(sign_in_request("ann"), &[forwarded])).await;
    let jar = Jar::of(&reply);
    assert_eq!(
        jar.attributes("__Host-parlance-access"),
        "HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=1800"
    );
    assert_eq!(
        jar.attributes("__Host-parlance-refresh"),
        "HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=2592000"
    );
    let cookie = ("cookie", &*jar.line());
    assert_eq!(send(&server, "GET", "/api/me", None, &[cookie, forwarded]).await.status, 200);
    // Without TLS a prefixed name is nothing, and with it a plain one: a network could set it.
    assert_eq!(send(&server, "GET", "/api/me", None, &[cookie]).await.status, 401);
    let plain = format!("parlance-access={}", jar.value("__Host-parlance-access"));
    let plain = ("cookie", &*plain);
    assert_eq!(send(&server, "GET", "/api/me", None, &[plain, forwarded]).await.status, 401);
    // Over TLS the page must have come by it, too.
    let http = ("origin", "http://localhost");
    let reply = send(&server, "GET", "/api/me", None, &[cookie, forwarded, http]).await;
    assert_eq!(reply.code(), (403, "forbidden".into()));
    let https = ("origin", "https://localhost");
    send(&server, "GET", "/api/me", None, &[cookie, forwarded, https]).await.expect(200);
    let out =
        send(&server, "POST", "/api/auth/logout", None, &[cookie, forwarded, https, CODE]).await;
    out.expect(204);
    assert!(Jar::of(&out).is_cleared());
    assert!(Jar::of(&out).attributes("__Host-parlance-access").contains("Secure"));
}

#[tokio::test]
async fn cookies_are_secure_when_the_server_itself_speaks_tls() {
    let (_folder, files, roots) = crate::front_door::tls_files();
    let mut config = config();
    config.tls = Some(Tls::Files(files));
    let server = Server::with(config).await;
    let connector = crate::front_door::connector(roots);
    let call = async |request| {
        let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
        let stream = connector.connect(name, server.connect().await).await.expect("TLS");
        exchange(stream, request).await
    };
    let body = json!({"username": "ann", "password": PASSWORD});
    call(request("POST", "/api/auth/register", "", Some(body))).await.expect(201);
    let jar = Jar::of(&call(sign_in_request("ann")).await);
    assert!(jar.attributes("__Host-parlance-access").contains("; Secure; Path=/;"));
    let asked = with(request("GET", "/api/me", "", None), &[("cookie", &jar.line())]);
    call(asked).await.expect(200);
}

#[tokio::test]
async fn a_change_by_cookie_needs_the_clients_header_and_page() {
    let server = Server::start().await;
    server.register("ann").await;
    let jar = sign_in(&server, "ann").await;
    let cookie = ("cookie", &*jar.line());
    let ours = ("origin", "http://localhost");
    let create = async |headers: &[(&'static str, &str)]| {
        let name = uuid::Uuid::new_v4().to_string();
        let body = json!({"name": name, "kind": "public"});
        send(&server, "POST", "/api/rooms", Some(body), headers).await.status
    };
    for fine in [
        &[cookie, CODE][..],
        &[cookie, CODE, ours],
        &[cookie, CODE, ours, ("sec-fetch-site", "same-origin")],
    ] {
        assert_eq!(create(fine).await, 201, "{fine:?}");
    }
    for refused in [
        &[cookie][..],
        &[cookie, ours],
        &[cookie, ours, ("sec-fetch-site", "same-origin")],
        &[cookie, EVIL],
        &[cookie, CODE, EVIL],
        &[cookie, CODE, ("origin", "null")],
        &[cookie, CODE, ("sec-fetch-site", "cross-site")],
        &[cookie, CODE, ours, ("sec-fetch-site", "same-site")],
        &[cookie, CODE, ("origin", "http://localhost:81")],
        &[cookie, ("x-parlance-client", "WEB"), ours],
    ] {
        assert_eq!(create(refused).await, 403, "{refused:?}");
    }
    // The other methods, and reading by a page from elsewhere.
    let room = "/api/rooms/01890000-0000-7000-8000-000000000000";
    for (method, path) in [("PATCH", room.to_owned()), ("PUT", format!("{room}/read"))] {
        let body = Some(json!({}));
        assert_eq!(send(&server, method, &path, body, &[cookie, ours]).await.status, 403);
    }
    let delete = format!("{room}/messages/1");
    assert_eq!(send(&server, "DELETE", &delete, None, &[cookie, ours]).await.status, 403);
    assert_eq!(send(&server, "GET", "/api/me", None, &[cookie, EVIL]).await.status, 403);
    assert_eq!(send(&server, "GET", "/api/me", None, &[cookie, ours]).await.status, 200);
}

#[tokio::test]
async fn a_page_of_a_listed_origin_may_use_the_cookie() {
    let mut config = config();
    config.allowed_origins = vec!["https://app.example".into()];
    let server = Server::with(config).await;
    server.register("ann").await;
    let jar = sign_in(&server, "ann").await;
    let listed = ("origin", "https://app.example");
    let headers = [("cookie", &*jar.line()), CODE, listed, ("sec-fetch-site", "same-site")];
    let body = json!({"name": "hall", "kind": "public"});
    send(&server, "POST", "/api/rooms", Some(body), &headers).await.expect(201);
    let headers = [("cookie", &*jar.line()), CODE, EVIL];
    assert_eq!(send(&server, "GET", "/api/me", None, &headers).await.status, 403);
    server
        .try_ws_with("/ws", "", &[("cookie", &jar.line()), listed])
        .await
        .map(|_| ())
        .expect("open");
}

#[tokio::test]
async fn a_page_from_elsewhere_signs_nobody_in() {
    let server = Server::start().await;
    server.register("ann").await;
    let reply = server.send(with(sign_in_request("ann"), &[EVIL])).await;
    assert_eq!(reply.code(), (403, "forbidden".into()));
    assert!(!reply.headers.contains_key("set-cookie"));
}

#[tokio::test]
async fn a_bearer_token_goes_before_a_cookie_and_needs_no_page() {
    let server = Server::start().await;
    server.register("ann").await;
    let jar = sign_in(&server, "ann").await;
    let bob = server.user("bob").await;
    let cookie = ("cookie", &*jar.line());
    let asked = with(request("GET", "/api/me", &bob, None), &[cookie, EVIL]);
    assert_eq!(server.send(asked).await.expect(200)["username"], "bob");
    let body = json!({"name": "hall", "kind": "public"});
    let asked = with(request("POST", "/api/rooms", &bob, Some(body)), &[cookie, EVIL]);
    server.send(asked).await.expect(201);
    // A bad one is not made good by the cookie.
    let asked = with(request("GET", "/api/me", "nonsense", None), &[cookie]);
    assert_eq!(server.send(asked).await.status, 401);
    let mut socket = server.try_ws_with("/ws", &bob, &[cookie, EVIL]).await.expect("opened");
    socket.say(json!({"type": "hello"})).await;
    assert_eq!(socket.hear().await["user"]["username"], "bob");
    // Signing out by bearer ends the bearer's sign-in, and the cookie's goes on.
    let out = with(request("POST", "/api/auth/logout", &bob, None), &[cookie]);
    server.send(out).await.expect(204);
    assert_eq!(me(&server, &jar).await, 200);
}

#[tokio::test]
async fn a_socket_takes_the_cookie_of_its_own_page_only() {
    let server = Server::start().await;
    server.register("ann").await;
    let jar = sign_in(&server, "ann").await;
    let cookie = ("cookie", &*jar.line());
    let ours = format!("http://{}", server.address);
    let mut socket =
        server.try_ws_with("/ws", "", &[cookie, ("origin", &ours)]).await.expect("opened");
    socket.say(json!({"type": "hello"})).await;
    assert_eq!(socket.hear().await["user"]["username"], "ann");
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1"] {
        let refused = server.try_ws_with("/ws", "", &[cookie, ("origin", origin)]).await;
        assert_eq!(refused.err(), Some(403), "{origin}");
    }
    assert_eq!(server.try_ws_with("/ws", "", &[cookie]).await.err(), Some(403), "no origin");
    // A token of one's own may come from anywhere, as before, with no cookie beside it.
    server.try_ws_with("/ws", "", &[EVIL]).await.map(|_| ()).expect("the hello will say");
}

#[tokio::test]
async fn a_sign_out_ends_the_sockets_and_clears_the_cookies() {
    let server = Server::start().await;
    server.register("ann").await;
    let (jar, other) = (sign_in(&server, "ann").await, sign_in(&server, "ann").await);
    let cookie = ("cookie", &*jar.line());
    let ours = format!("http://{}", server.address);
    let mut socket =
        server.try_ws_with("/ws", "", &[cookie, ("origin", &ours)]).await.expect("opened");
    socket.say(json!({"type": "hello"})).await;
    assert_eq!(socket.hear().await["type"], "welcome");

    for refused in [&[cookie][..], &[cookie, CODE, EVIL]] {
        let reply = send(&server, "POST", "/api/auth/logout", None, refused).await;
        assert_eq!(reply.code(), (403, "forbidden".into()));
        assert!(!reply.headers.contains_key("set-cookie"));
    }
    assert_eq!(me(&server, &jar).await, 200);
    let out = send(&server, "POST", "/api/auth/logout", None, &[cookie, CODE]).await;
    out.expect(204);
    assert!(Jar::of(&out).is_cleared(), "{out:?}");
    let (_, code) = socket.closed().await;
    assert_eq!(code, 4001);
    assert_eq!(me(&server, &jar).await, 401);
    assert_eq!(me(&server, &other).await, 200);
    // What is over already is as good as signed out.
    let again = send(&server, "POST", "/api/auth/logout", None, &[cookie, CODE]).await;
    again.expect(204);
    assert!(Jar::of(&again).is_cleared());
    // A socket is still told by its close code, which a page can see.
    let mut late =
        server.try_ws_with("/ws", "", &[cookie, ("origin", &ours)]).await.expect("opened");
    late.say(json!({"type": "hello"})).await;
    assert_eq!(late.closed().await.1, 4001);
}

#[tokio::test]
async fn either_cookie_is_enough_to_sign_out() {
    let server = Server::start().await;
    server.register("ann").await;
    for name in ["parlance-access", "parlance-refresh"] {
        let jar = sign_in(&server, "ann").await;
        let one = format!("{name}={}", jar.value(name));
        send(&server, "POST", "/api/auth/logout", None, &[("cookie", &one), CODE])
            .await
            .expect(204);
        assert_eq!(me(&server, &jar).await, 401, "{name}");
    }
    let none = send(&server, "POST", "/api/auth/logout", None, &[CODE]).await;
    assert_eq!(none.code(), (401, "unauthenticated".into()));
}

async fn refresh(server: &Server, jar: &Jar) -> Reply {
    send(server, "POST", "/api/auth/refresh", None, &[("cookie", &jar.line()), CODE]).await
}

#[tokio::test]
async fn a_refresh_gives_new_cookies() {
    let server = Server::start().await;
    let id = server.register("ann").await;
    let jar = sign_in(&server, "ann").await;
    let reply = refresh(&server, &jar).await;
    let answer = json!({"id": id, "username": "ann", "admin": false, "expires_in": 1_800});
    assert_eq!(reply.expect(200), answer);
    let next = Jar::of(&reply);
    assert_ne!(next.value("parlance-refresh"), jar.value("parlance-refresh"));
    assert_eq!(me(&server, &next).await, 200);
    // The access cookie is not needed, as it runs out first.
    let only =
        Jar(next.0.iter().filter(|(name, ..)| name == "parlance-refresh").cloned().collect());
    refresh(&server, &only).await.expect(200);
}

#[tokio::test]
async fn a_refresh_by_cookie_needs_the_clients_header_and_page() {
    let server = Server::start().await;
    server.register("ann").await;
    let jar = sign_in(&server, "ann").await;
    let cookie = ("cookie", &*jar.line());
    for refused in [&[cookie][..], &[cookie, CODE, EVIL], &[cookie, EVIL]] {
        let reply = send(&server, "POST", "/api/auth/refresh", None, refused).await;
        assert_eq!(reply.code(), (403, "forbidden".into()));
        assert!(!reply.headers.contains_key("set-cookie"));
    }
    refresh(&server, &jar).await.expect(200);
}

#[tokio::test]
async fn a_page_from_elsewhere_signs_nobody_out_by_a_refresh_without_a_cookie() {
    let server = Server::start().await;
    for from in [&[][..], &[EVIL], &[CODE, EVIL], &[("sec-fetch-site", "cross-site")]] {
        let reply = send(&server, "POST", "/api/auth/refresh", None, from).await;
        assert_eq!(reply.code(), (401, "unauthenticated".into()));
        assert!(!reply.headers.contains_key("set-cookie"), "{from:?}");
    }
}

#[tokio::test]
async fn a_refresh_that_is_refused_clears_the_cookies() {
    let server = Server::start().await;
    server.register("ann").await;
    let jar = sign_in(&server, "ann").await;
    let second = Jar::of(&refresh(&server, &jar).await);
    let third = Jar::of(&refresh(&server, &second).await);
    assert_eq!(me(&server, &third).await, 200);
    // The first one is long spent: somebody else has it, and the sign-in is over for all.
    for jar in [&jar, &third, &second] {
        let reply = refresh(&server, jar).await;
        assert_eq!(reply.code(), (401, "unauthenticated".into()));
        assert!(Jar::of(&reply).is_cleared(), "{reply:?}");
    }
    assert_eq!(me(&server, &third).await, 401);
    let none = send(&server, "POST", "/api/auth/refresh", None, &[CODE]).await;
    assert_eq!(none.code(), (401, "unauthenticated".into()));
    assert!(Jar::of(&none).is_cleared(), "{none:?}");
    let long = format!("parlance-refresh={}", "x".repeat(4_000));
    let reply = send(&server, "POST", "/api/auth/refresh", None, &[("cookie", &long), CODE]).await;
    assert_eq!(reply.code(), (401, "unauthenticated".into()));
}

#[tokio::test]
async fn a_refresh_whose_answer_was_lost_signs_no_browser_out() {
    let server = Server::start().await;
    server.register("ann").await;
    let jar = sign_in(&server, "ann").await;
    refresh(&server, &jar).await.expect(200);
    let reply = refresh(&server, &jar).await;
    reply.expect(200);
    assert_eq!(me(&server, &Jar::of(&reply)).await, 200);
    refresh(&server, &Jar::of(&reply)).await.expect(200);
}

#[tokio::test]
async fn garbage_and_doubles_among_the_cookies_sign_nobody_in() {
    let server = Server::start().await;
    server.register("ann").await;
    let jar = sign_in(&server, "ann").await;
    let token = jar.value("parlance-access");
    let status = async |cookies: &[u8]| {
        let mut asked = request("GET", "/api/me", "", None);
        let value = http::HeaderValue::from_bytes(cookies).expect("a header");
        asked.headers_mut().insert("cookie", value);
        server.send(asked).await.status
    };
    let fine = format!("theme=dark;; =x; parlance-access={token}; other=\"a b\"");
    assert_eq!(status(fine.as_bytes()).await, 200);
    let mut bytes = b"other=\xff\xfe; parlance-access=".to_vec();
    bytes.extend_from_slice(token.as_bytes());
    assert_eq!(status(&bytes).await, 200, "what others put there is no text");
    let double = format!("parlance-access={token}; parlance-access=x");
    assert_eq!(status(double.as_bytes()).await, 401);
    for garbage in ["parlance-access=", "parlance-access", "parlance-access=a.b.c", "=", ";;;"] {
        assert_eq!(status(garbage.as_bytes()).await, 401, "{garbage}");
    }
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJpc3MiOiJwYXJsYW5jZSJ9.";
    assert_eq!(status(format!("parlance-access={none}").as_bytes()).await, 401);
}

#[tokio::test]
async fn a_new_password_gives_a_browser_new_cookies_and_no_tokens() {
    let server = Server::start().await;
    server.register("ann").await;
    let (jar, other) = (sign_in(&server, "ann").await, sign_in(&server, "ann").await);
    let body = json!({"old_password": PASSWORD, "new_password": "Winter2027"});
    let cookie = ("cookie", &*jar.line());
    let path = "/api/auth/password";
    assert_eq!(send(&server, "PUT", path, Some(body.clone()), &[cookie]).await.status, 403);
    let reply = send(&server, "PUT", path, Some(body), &[cookie, CODE]).await;
    let answer = reply.expect(200);
    assert_eq!(answer["username"], "ann");
    assert!(answer.get("access_token").is_none() && answer.get("refresh_token").is_none());
    assert_eq!(me(&server, &Jar::of(&reply)).await, 200);
    for old in [&jar, &other] {
        assert_eq!(me(&server, old).await, 401);
        assert_eq!(refresh(&server, old).await.status, 401);
    }
}

#[tokio::test]
async fn a_ticket_can_be_had_by_cookie() {
    let server = Server::start().await;
    server.register("ann").await;
    let jar = sign_in(&server, "ann").await;
    let headers = [("cookie", &*jar.line()), CODE];
    let ticket = send(&server, "POST", "/api/auth/ws-ticket", None, &headers).await.expect(201);
    let mut socket = server.ws(&format!("/ws?ticket={}", text(&ticket["ticket"])), "").await;
    socket.say(json!({"type": "hello"})).await;
    assert_eq!(socket.hear().await["user"]["username"], "ann");
    let refused = send(&server, "POST", "/api/auth/ws-ticket", None, &headers[..1]).await;
    assert_eq!(refused.status, 403);
}

#[tokio::test]
async fn a_browser_is_not_signed_out_while_the_accounts_are_away() {
    let server = Server::start().await;
    server.register("ann").await;
    let jar = sign_in(&server, "ann").await;
    server.accounts.set_away(true);
    let reply = refresh(&server, &jar).await;
    assert_eq!(reply.code(), (503, "unavailable".into()));
    assert!(!reply.headers.contains_key("set-cookie"));
    let reply =
        send(&server, "POST", "/api/auth/logout", None, &[("cookie", &jar.line()), CODE]).await;
    assert_eq!(reply.status, 503);
    assert!(!reply.headers.contains_key("set-cookie"), "it would go on without the browser");
    server.accounts.set_away(false);
    until(async || refresh(&server, &jar).await.status == 200).await;
}
