//! How one HTTP call is described: what it takes, what it gives, and every way in which it refuses.
//! What all calls of a sort have in common is added here and not told again for each.

use std::collections::BTreeMap;

use http::StatusCode;
use parlance_actors::vocab::Code;
use parlance_protocol::http::ErrorBody;
use parlance_protocol::schema::{COMPONENTS, Schemas};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, ContentBuilder, HttpMethod, InfoBuilder, License, OpenApiBuilder, PathItem,
    PathsBuilder, Ref, RefOr, Required, Response, ResponseBuilder, ResponsesBuilder,
};

use super::bounds;
use crate::error::{meaning, status};
use crate::limits::{HEADER_BYTES_MAX, HTTP_BODY_BYTES_MAX};

pub(super) const JSON: &str = "application/json";

/// The header that a browser's client sends with its cookie.
pub(super) const CLIENT_HEADER: &str = "x-parlance-client";
/// The cookie of the access token, without the prefix that it has over TLS.
const ACCESS_COOKIE: &str = "parlance-access";

const ABOUT: &str = "Chat over HTTP and WebSocket. Every answer that is no success is `{\"code\",\"detail\",\"retry_after_ms\"?}`: \
`code` is for programs (see the table of error codes), `detail` names for a person what is wrong and what is allowed. Only a head that is no request, or too large to be one (431), is answered without a body.\n\n\
Every change takes an idempotency key, in the body or in `Idempotency-Key`: repeat a change with its key until it has an answer, \
and it is done once. Requests with unknown fields or parameters are refused; answers may gain fields, so leave aside what you do \
not know. Every answer has `x-request-id`; send one of your own to find a request in the server's log.";

/// All calls, as they are told.
#[derive(Default)]
pub(super) struct Book {
    schemas: Schemas,
    paths: BTreeMap<&'static str, PathItem>,
    tags: Vec<(&'static str, &'static str)>,
}

impl Book {
    /// The calls that follow are about this.
    pub(super) fn about(&mut self, tag: &'static str, description: &'static str) {
        self.tags.push((tag, description));
    }

    pub(super) fn get(&mut self, path: &'static str, summary: &'static str) -> Call<'_> {
        self.call(HttpMethod::Get, path, summary)
    }

    pub(super) fn post(&mut self, path: &'static str, summary: &'static str) -> Call<'_> {
        self.call(HttpMethod::Post, path, summary)
    }

    pub(super) fn put(&mut self, path: &'static str, summary: &'static str) -> Call<'_> {
        self.call(HttpMethod::Put, path, summary)
    }

    pub(super) fn patch(&mut self, path: &'static str, summary: &'static str) -> Call<'_> {
        self.call(HttpMethod::Patch, path, summary)
    }

    pub(super) fn delete(&mut self, path: &'static str, summary: &'static str) -> Call<'_> {
        self.call(HttpMethod::Delete, path, summary)
    }

    fn call(&mut self, method: HttpMethod, path: &'static str, summary: &'static str) -> Call<'_> {
        let tag = self.tags.last().expect("a tag is told before its calls").0;
        let operation = OperationBuilder::new().tag(tag).summary(Some(summary));
        Call {
            book: self,
            method,
            path,
            operation,
            parameters: Vec::new(),
            answers: Vec::new(),
            refusals: Vec::new(),
            security: Vec::new(),
        }
    }

    pub(super) fn schema<T: ToSchema>(&mut self) -> Ref {
        Ref::new(format!("{COMPONENTS}{}", self.schemas.add::<T>()))
    }

    /// The whole document.
    pub(super) fn into_document(mut self) -> Value {
        self.schemas.add::<ErrorBody<'_>>();
        let paths = self
            .paths
            .into_iter()
            .fold(PathsBuilder::new(), |paths, (path, item)| paths.path(path, item));
        let tags = self.tags.into_iter().map(|(tag, description)| {
            TagBuilder::new().name(tag).description(Some(description)).build()
        });
        let info = InfoBuilder::new()
            .title("Parlance")
            .version(super::VERSION)
            .description(Some(ABOUT))
            .license(Some(License::new("Apache-2.0 OR MIT")));
        let document = OpenApiBuilder::new()
            .info(info)
            .paths(paths)
            .components(Some(security_schemes()))
            .tags(Some(tags.collect::<Vec<_>>()))
            .build();
        let mut document = serde_json::to_value(document).expect("a document is JSON");
        let mut schemas = self.schemas.into_value();
        bounds::apply(&mut schemas);
        document["openapi"] = json!("3.1.0");
        document["components"]["schemas"] = schemas;
        document["x-error-codes"] = super::error_table();
        document
    }
}

fn security_schemes() -> Components {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("The access token of a login, for programs."))
        .build();
    let key = |name: &str, about: &str| ApiKeyValue::with_description(name, about);
    let cookie = key(
        ACCESS_COOKIE,
        "For browsers: set by a login with `cookie: true`; `__Host-parlance-access` over TLS.",
    );
    let header = key(
        CLIENT_HEADER,
        "`web`. Goes with the cookie in every call that is not a GET; a page from elsewhere cannot send it.",
    );
    let ticket = key("ticket", "Of `POST /api/auth/ws-ticket`; opens one socket.");
    let token = key("token", "The access token, for simple chat where headers cannot be set.");
    let mut components = Components::new();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    components.add_security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    components.add_security_scheme("client", SecurityScheme::ApiKey(ApiKey::Header(header)));
    components.add_security_scheme("ticket", SecurityScheme::ApiKey(ApiKey::Query(ticket)));
    components.add_security_scheme("token", SecurityScheme::ApiKey(ApiKey::Query(token)));
    components
}

pub(super) fn need(scheme: &str) -> SecurityRequirement {
    SecurityRequirement::new::<_, [&str; 0], &str>(scheme, [])
}

/// One call while it is told.
pub(super) struct Call<'b> {
    book: &'b mut Book,
    method: HttpMethod,
    path: &'static str,
    operation: OperationBuilder,
    parameters: Vec<Parameter>,
    answers: Vec<(u16, Response)>,
    refusals: Vec<(Code, String)>,
    security: Vec<SecurityRequirement>,
}

impl Call<'_> {
    /// More about it than its summary.
    pub(super) fn about(mut self, description: &str) -> Self {
        self.operation = self.operation.description(Some(description));
        self
    }

    /// It asks the node's stores, so it can be refused while they are full or away.
    pub(super) fn served(self) -> Self {
        self.refuses(Code::Busy, "A queue is full; nothing was done.").refuses(
            Code::Unavailable,
            "It cannot be served now; whether a change was done may be unknown.",
        )
    }

    /// For signed-in callers.
    pub(super) fn signed(mut self) -> Self {
        let by_cookie = match self.method {
            HttpMethod::Get => need("cookie"),
            _ => need("cookie").add::<_, [&str; 0], &str>("client", []),
        };
        self.security = vec![need("bearer"), by_cookie];
        self.refuses(Code::Unauthenticated, "No access token, or one that is wrong or has run out.")
            .refuses(Code::Forbidden, "A cookie that comes from another site's page.")
            .served()
    }

    /// What else lets a caller in, beside or instead of a bearer token.
    pub(super) fn or_by(mut self, scheme: SecurityRequirement) -> Self {
        self.security.push(scheme);
        self
    }

    /// A part of the path.
    pub(super) fn path_part(mut self, name: &str, about: &str, schema: Value) -> Self {
        let part = parameter(name, ParameterIn::Path, about, schema).required(Required::True);
        self.parameters.push(part.build());
        self.refuses(Code::BadRequest, "A part of the path is not of its type.")
    }

    /// A value of the query.
    pub(super) fn query(mut self, name: &str, about: &str, schema: Value) -> Self {
        let value = parameter(name, ParameterIn::Query, about, schema).required(Required::False);
        self.parameters.push(value.build());
        self.refuses(
            Code::BadRequest,
            "A value of the query is unknown, or not of its type or range.",
        )
    }

    /// It is a change with an idempotency key.
    pub(super) fn keyed(mut self) -> Self {
        let about = "The idempotency key, if it is not in the body; the server makes one when there is none.";
        let schema = json!({"type": "string", "format": "uuid"});
        let key = parameter("Idempotency-Key", ParameterIn::Header, about, schema);
        self.parameters.push(key.required(Required::False).build());
        self.refuses(Code::BadRequest, "The key is not a UUID, or body and header differ.")
    }

    /// Its body.
    pub(super) fn takes<T: ToSchema>(self, example: Value) -> Self {
        self.body::<T>(Required::True, example)
    }

    /// Its body, which may be left out.
    pub(super) fn may_take<T: ToSchema>(self, example: Value) -> Self {
        self.body::<T>(Required::False, example)
    }

    fn body<T: ToSchema>(mut self, required: Required, example: Value) -> Self {
        let schema = self.book.schema::<T>();
        let content = ContentBuilder::new().schema(Some(schema)).example(Some(example)).build();
        let body =
            RequestBodyBuilder::new().required(Some(required)).content(JSON, content).build();
        self.operation = self.operation.request_body(Some(body));
        self.refuses(
            Code::BadRequest,
            "The body is not JSON, or a field is missing, unknown or not of its type or range.",
        )
        .refuses(Code::UnsupportedMediaType, "The body's `Content-Type` is not JSON.")
        .reads_body()
    }

    /// It takes no body, and says so when there is one.
    pub(super) fn no_body(self) -> Self {
        self.refuses(Code::BadRequest, "There is a body.").reads_body()
    }

    fn reads_body(self) -> Self {
        self.refuses(Code::TooLarge, &format!("The body is over {HTTP_BODY_BYTES_MAX} bytes."))
            .refuses(Code::Timeout, "The body did not come in time.")
    }

    /// A success with a body.
    pub(super) fn gives<T: ToSchema>(self, status: u16, about: &str, example: Value) -> Self {
        let schema = self.book.schema::<T>();
        self.answer(status, about, JSON, RefOr::Ref(schema), Some(example))
    }

    /// An answer whose schema is not a named one.
    pub(super) fn answer(
        mut self,
        status: u16,
        about: &str,
        content_type: &str,
        schema: impl Into<RefOr<Schema>>,
        example: Option<Value>,
    ) -> Self {
        let content = ContentBuilder::new().schema(Some(schema)).example(example).build();
        let response = stamped(about).content(content_type, content).build();
        self.answers.push((status, response));
        self
    }

    /// The last answer, in another media type.
    pub(super) fn or_as(mut self, content_type: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        let (status, last) = self.answers.pop().expect("an answer is told first");
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let response = ResponseBuilder::from(last).content(content_type, content).build();
        self.answers.push((status, response));
        self
    }

    /// A success without a body.
    pub(super) fn gives_nothing(mut self, status: u16, about: &str) -> Self {
        self.answers.push((status, stamped(about).build()));
        self
    }

    /// A way in which it refuses.
    pub(super) fn refuses(mut self, code: Code, when: &str) -> Self {
        self.refusals.push((code, when.to_owned()));
        self
    }

    /// Ends the telling. Probes are not counted against their address.
    pub(super) fn done_as_probe(mut self) {
        let refusals = refusals(std::mem::take(&mut self.refusals));
        let responses = self
            .answers
            .drain(..)
            .chain(refusals)
            .chain([(431, head_too_large())])
            .fold(ResponsesBuilder::new(), |responses, (status, response)| {
                responses.response(status.to_string(), response)
            });
        let id = operation_id(&self.method, self.path);
        let mut operation = self
            .operation
            .operation_id(Some(id))
            .responses(responses)
            .securities(Some(self.security));
        for parameter in self.parameters {
            operation = operation.parameter(parameter);
        }
        let item = PathItem::new(self.method, operation);
        match self.book.paths.get_mut(self.path) {
            Some(known) => known.merge_operations(item),
            None => {
                self.book.paths.insert(self.path, item);
            }
        }
    }

    /// Ends the telling.
    pub(super) fn done(self) {
        self.refuses(Code::RateLimited, "More requests of this address than the node takes.")
            .refuses(Code::Internal, "A defect of the server.")
            .done_as_probe();
    }
}

fn parameter(name: &str, place: ParameterIn, about: &str, schema: Value) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .description(Some(about))
        .schema(Some(raw(schema)))
}

/// A schema written by hand.
pub(super) fn raw(schema: Value) -> RefOr<Schema> {
    serde_json::from_value(schema).expect("a schema of this folder")
}

fn operation_id(method: &HttpMethod, path: &str) -> String {
    let method = match method {
        HttpMethod::Get => "get",
        HttpMethod::Post => "post",
        HttpMethod::Put => "put",
        HttpMethod::Patch => "patch",
        HttpMethod::Delete => "delete",
        _ => "other",
    };
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    std::iter::once(method).chain(words).collect::<Vec<_>>().join("_")
}

/// An answer with the header that every one has.
fn stamped(about: &str) -> ResponseBuilder {
    let id = HeaderBuilder::new()
        .schema(Some(raw(json!({"type": "string"}))))
        .description(Some("The correlation id: the client's, or a new one."));
    ResponseBuilder::new().description(about).header("x-request-id", id.build())
}

/// What is said before a request is one, and so has neither an id nor a body.
fn head_too_large() -> Response {
    let about = format!(
        "The request line and all headers are over {HEADER_BYTES_MAX} bytes. The answer has no body, and the connection ends."
    );
    ResponseBuilder::new().description(about).build()
}

/// One answer for each status, with an example for each code.
fn refusals(all: Vec<(Code, String)>) -> Vec<(u16, Response)> {
    let mut by_status: BTreeMap<StatusCode, Vec<(Code, Vec<String>)>> = BTreeMap::new();
    for (code, when) in all {
        let codes = by_status.entry(status(code)).or_default();
        match codes.iter_mut().find(|(known, _)| *known == code) {
            Some((_, whens)) if whens.contains(&when) => {}
            Some((_, whens)) => whens.push(when),
            None => codes.push((code, vec![when])),
        }
    }
    by_status.into_iter().map(|(status, codes)| (status.as_u16(), refusal(status, codes))).collect()
}

fn refusal(status: StatusCode, codes: Vec<(Code, Vec<String>)>) -> Response {
    let about: Vec<String> = codes
        .iter()
        .map(|(code, whens)| format!("`{}`: {}", code.as_str(), whens.join(" ")))
        .collect();
    let examples = codes.iter().map(|(code, whens)| {
        let value = json!({"code": code.as_str(), "detail": whens[0]});
        let example = ExampleBuilder::new().summary(meaning(*code).text).value(Some(value)).build();
        (code.as_str(), RefOr::T(example))
    });
    let schema = Ref::new(format!("{COMPONENTS}ErrorBody"));
    let content = ContentBuilder::new().schema(Some(schema)).examples_from_iter(examples).build();
    let mut response = stamped(&about.join("\n\n")).content(JSON, content);
    let header = |about: &str, schema: Value| {
        HeaderBuilder::new().schema(Some(raw(schema))).description(Some(about)).build()
    };
    match status {
        StatusCode::UNAUTHORIZED => {
            let schema = json!({"type": "string"});
            response = response.header("WWW-Authenticate", header("`Bearer`", schema));
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let about = "When repeating can help, in whole seconds; `retry_after_ms` is exact.";
            let schema = json!({"type": "integer", "minimum": 1});
            response = response.header("Retry-After", header(about, schema));
        }
        _ => {}
    }
    response.build()
}
