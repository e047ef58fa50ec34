//! Registering, signing in and out, and finding people.

use parlance_actors::limits::LIST_MAX;
use parlance_actors::vocab::Code;
use parlance_protocol::User;
use parlance_protocol::http::{
    ChangeProfile, Credentials, Login, Me, Mentions, Profile, Refresh, SignedIn, Ticket, Tokens,
};
use serde_json::{Value, json};

use super::call::{Book, Call, JSON, need, raw};
use super::rooms::ROOM;
use crate::http::auth::ChangePassword;
use crate::http::users::Users;
use crate::limits::{NAME_BYTES_MAX, USER_IDS_MAX, USERS_MAX};

/// An id, as a regular expression.
const UUID: &str = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";

pub(super) const ADA: &str = "0198a0c1-5e00-7000-8000-000000000003";

pub(super) fn ada() -> Value {
    json!({"id": ADA, "username": "ada"})
}

fn profile() -> Value {
    json!({"id": ADA, "username": "ada", "name": "Ada Lovelace", "about": "Likes engines"})
}

/// The id of a user or room.
pub(super) fn uuid() -> Value {
    json!({"type": "string", "format": "uuid"})
}

fn tokens() -> Value {
    json!({
        "access_token": "eyJhbGciOi…", "token_type": "bearer", "expires_in": 1800,
        "refresh_token": "q83vEjRWeJCrze8S…",
    })
}

/// Both answers of a sign-in.
fn sign_in(book: &mut Book) -> Value {
    let (tokens, cookies) = (book.schema::<Tokens<'_>>(), book.schema::<SignedIn<'_>>());
    json!({"anyOf": [{"$ref": tokens.ref_location}, {"$ref": cookies.ref_location}]})
}

fn gives_sign_in<'b>(call: Call<'b>, schema: &Value) -> Call<'b> {
    let about =
        "The tokens of the sign-in; or, with cookies, the account, and the tokens in `Set-Cookie`.";
    call.answer(200, about, JSON, raw(schema.clone()), Some(tokens()))
}

pub(super) fn describe(book: &mut Book) {
    book.about("Signing in", "Accounts, tokens and tickets.");
    signing_in(book);
    signing_out(book);
    book.about("People", "Who the caller is, and who others are.");
    people(book);
}

fn signing_in(book: &mut Book) {
    let schema = sign_in(book);
    book.post("/api/auth/register", "Make an account")
        .about("Says nothing of the caller's own sign-in: sign in after it. The server may be set to have no registration.")
        .takes::<Credentials<'_>>(json!({"username": "ada", "password": "Correct-Horse-1"}))
        .gives::<User<'_>>(201, "The account.", ada())
        .refuses(Code::Forbidden, "Registration is switched off.")
        .refuses(Code::NameTaken, "The name is in use.")
        .refuses(Code::RateLimited, "Too many new accounts of this network.")
        .served()
        .done();
    gives_sign_in(book.post("/api/auth/login", "Sign in"), &schema)
        .about("With `cookie` the tokens go into cookies that no script can read, for browsers; the answer then has none.")
        .takes::<Login<'_>>(json!({"username": "ada", "password": "Correct-Horse-1"}))
        .refuses(Code::Unauthenticated, "Username or password is wrong.")
        .refuses(Code::Forbidden, "The account may not sign in, or a page from elsewhere asks for cookies.")
        .refuses(Code::RateLimited, "Too many sign-ins of this network.")
        .refuses(Code::LockedOut, "Too many failed sign-ins; the account rests.")
        .served()
        .done();
    gives_sign_in(book.post("/api/auth/refresh", "Get new tokens"), &schema)
        .about("By the token in the body, or without a body by the cookie. A refresh token works once; showing a spent one ends the whole sign-in.")
        .may_take::<Refresh<'_>>(json!({"refresh_token": "q83vEjRWeJCrze8S…"}))
        .refuses(Code::Unauthenticated, "The refresh token is missing, unknown, spent or has run out; the cookies are cleared.")
        .refuses(Code::Forbidden, "A cookie that comes from another site's page.")
        .served()
        .done();
    book.post("/api/auth/ws-ticket", "Get a ticket for a socket")
        .about("For browsers that connect from elsewhere: a socket's URL cannot carry a header, and a ticket in it is worth nothing once used.")
        .signed()
        .no_body()
        .gives::<Ticket<'_>>(201, "Opens one socket, soon.", json!({"ticket": "Zm9vYmFy…", "expires_in": 30}))
        .done();
}

fn signing_out(book: &mut Book) {
    let schema = sign_in(book);
    book.post("/api/auth/logout", "Sign out")
        .about("By the access token, by the refresh token in the body, or both; or by the cookies, which are cleared. Ends the sign-in on every node; its sockets close with 4001.")
        .or_by(need("bearer"))
        .or_by(need("cookie").add::<_, [&str; 0], &str>("client", []))
        .may_take::<Refresh<'_>>(json!({"refresh_token": "q83vEjRWeJCrze8S…"}))
        .gives_nothing(204, "The sign-in is over.")
        .refuses(Code::Unauthenticated, "Neither token is there and good.")
        .refuses(Code::Forbidden, "A cookie that comes from another site's page.")
        .served()
        .done();
    gives_sign_in(book.put("/api/auth/password", "Change the password"), &schema)
        .about("Ends every other sign-in of the account, and gives the tokens of a new one.")
        .signed()
        .takes::<ChangePassword<'_>>(
            json!({"old_password": "Correct-Horse-1", "new_password": "Battery-Staple-2"}),
        )
        .refuses(Code::Forbidden, "The old password is wrong.")
        .refuses(Code::RateLimited, "Too many tries of this network.")
        .refuses(Code::LockedOut, "Too many wrong passwords; the account rests.")
        .refuses(Code::Conflict, "The account has no password of its own here.")
        .done();
}

fn people(book: &mut Book) {
    book.get("/api/me", "Who the caller is")
        .signed()
        .gives::<Me<'_>>(200, "The caller's account.", profile())
        .done();
    book.patch("/api/me", "Change what the caller says of themselves")
        .about("What is absent stays, what is empty or null is removed. Others see it when they ask the next time.")
        .signed()
        .takes::<ChangeProfile<'_>>(json!({"name": "Ada Lovelace", "about": "Likes engines"}))
        .gives::<Me<'_>>(200, "The account as it is now.", profile())
        .refuses(Code::NameTaken, "The name is another user's username.")
        .done();
    let at = "2026-06-21T00:00:00.000Z";
    let most = json!({"type": "integer", "minimum": 1, "maximum": LIST_MAX, "default": LIST_MAX});
    book.get("/api/me/mentions", "Where the caller was mentioned")
        .about("Messages of others that mention the caller in their latest form, in rooms that the caller is in; the newest first, in pages: ask again with `before` while there is a `next`.")
        .signed()
        .query("before", "The `next` of the page before.", json!({"type": "string"}))
        .query("limit", "How many at most.", most)
        .gives::<Mentions<'_>>(
            200,
            "A page.",
            json!({"mentions": [{"room": ROOM, "seq": 58, "at": at}], "next": format!("1782000000000.{ROOM}.58")}),
        )
        .done();
    let prefix =
        json!({"type": "string", "minLength": 1, "maxLength": NAME_BYTES_MAX, "example": "ad"});
    let limit =
        json!({"type": "integer", "minimum": 1, "maximum": USERS_MAX, "default": USERS_MAX});
    let ids = json!({
        "type": "string", "pattern": format!("^{UUID}(,{UUID}){{0,{}}}$", USER_IDS_MAX - 1),
        "maxLength": USER_IDS_MAX * 37 - 1, "example": ADA,
    });
    book.get("/api/users", "Find people by the start of their name, or by their ids")
        .about("Give `prefix` or `ids`, and not both.")
        .signed()
        .query("prefix", "How their username, or the name that they show, begins, without case; no control characters.", prefix)
        .query("limit", "How many at most, with `prefix`.", limit)
        .query("ids", &format!("Up to {USER_IDS_MAX} ids with commas between."), ids)
        .gives::<Users<'_>>(200, "Who was found.", json!({"users": [profile()]}))
        .done();
    book.get("/api/users/{user}", "One user")
        .signed()
        .path_part("user", "The user's id.", uuid())
        .gives::<Profile<'_>>(200, "The user.", profile())
        .refuses(Code::NotFound, "There is no such user.")
        .done();
}
