//! Every answer that the gateway makes itself, in one table.
//!
//! Called by `gateway` with a [`Cause`]; nothing else in the house chooses a status. It never shows an address, a
//! secret or the text of an inner error.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};

use crate::{
    config,
    policy::jwt::Refusal,
    telemetry::{Outcome, json::Object},
};

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
/// Error types of RFC 9209 that several causes have.
const DENIED: &str = "http_request_denied";
const REQUEST: &str = "http_request_error";
const UNAVAILABLE: &str = "destination_unavailable";
/// What a problem takes, about.
const PROBLEM_SIZE: usize = 512;
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// Why the gateway answers instead of an upstream.
#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    /// The request itself is ambiguous or malformed; says which part.
    BadRequest(&'static str),
    /// The client stopped sending its body.
    BodyTimeout,
    /// The circuit breaker of every upstream of the route is open; seconds until it may try.
    CircuitBreakerOpen {
        retry_after: u64,
    },
    /// The client went away: nobody is left to answer.
    ClientClosed,
    ConnectFailed,
    ConnectTimeout,
    /// Refused by address, origin or another rule that a token cannot change.
    Denied,
    HeadTooLarge,
    /// A fault of our own.
    Internal,
    Jwt(Refusal),
    /// The path has routes, but none for this method.
    MethodNotAllowed {
        allow: Vec<Method>,
    },
    NoInstance,
    NoRoute,
    /// Seconds until the bucket holds a request again.
    RateLimited {
        retry_after: u64,
    },
    BodyTooLarge,
    UriTooLong,
    /// The upstream's answer is not HTTP.
    UpstreamProtocol,
    /// The upstream closed the connection before it answered.
    UpstreamReset,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    UpstreamTls,
}

/// A response without an upstream.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The answer is a gRPC status: header only, with HTTP status 200.
    pub trailers_only: bool,
}

/// What an answer says of the request that it answers.
pub struct Asked<'a> {
    pub headers: &'a HeaderMap,
    pub request_id: &'a str,
    pub trace_id: &'a str,
}

/// One row of the table.
struct Row {
    status: u16,
    outcome: Outcome,
    /// RFC 9209's error type, with parameters.
    proxy_error: &'static str,
    detail: &'static str,
}

// === impl Answer ===

impl Answer {
    /// A status and nothing else.
    pub fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new(), trailers_only: false }
    }

    /// What a route answers by itself.
    pub fn configured(answer: &config::Answer) -> Result<Self, http::Error> {
        let mut headers = HeaderMap::with_capacity(answer.headers.len() + 1);
        for (name, value) in &answer.headers {
            headers.insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
        if !answer.body.is_empty() {
            headers
                .entry(CONTENT_TYPE)
                .or_insert(HeaderValue::from_static("text/plain; charset=utf-8"));
        }
        let status = StatusCode::from_u16(answer.status)?;
        Ok(Self { status, headers, body: answer.body.clone().into(), trailers_only: false })
    }
}

// === impl Cause ===

impl Cause {
    /// The status that the client gets; 499 stands in the log alone.
    pub fn status(&self) -> u16 {
        self.row().status
    }

    /// The word that the access log, the metrics and the answer's `code` use.
    pub fn outcome(&self) -> Outcome {
        self.row().outcome
    }

    /// The table: statuses as in RFC 9110, error types as in RFC 9209 section 2.3.
    #[rustfmt::skip] // one row a line
    fn row(&self) -> Row {
        let (status, outcome, proxy_error, detail) = match self {
            Self::BadRequest(what)          => (400, Outcome::BadRequest, REQUEST, *what),
            Self::BodyTimeout               => (408, Outcome::Timeout, REQUEST, "the request's body did not come in time"),
            Self::BodyTooLarge              => (413, Outcome::TooLarge, REQUEST, "the request's body is larger than the route allows"),
            Self::CircuitBreakerOpen { .. } => (503, Outcome::CircuitBreakerOpen, UNAVAILABLE, "calls of this route are paused after failures"),
            Self::ClientClosed              => (499, Outcome::ClientClosed, REQUEST, "the client went away"),
            Self::ConnectFailed             => (502, Outcome::ConnectFailed, "connection_refused", "no connection to an instance could be made"),
            Self::ConnectTimeout            => (504, Outcome::Timeout, "connection_timeout", "no instance took the connection in time"),
            Self::Denied                    => (403, Outcome::Forbidden, DENIED, "this client may not call this route"),
            Self::HeadTooLarge              => (431, Outcome::TooLarge, REQUEST, "the request's headers are too large"),
            Self::Internal                  => (500, Outcome::Internal, "proxy_internal_error", "the gateway failed"),
            Self::Jwt(Refusal::Ambiguous)   => (400, Outcome::BadRequest, REQUEST, "there is more than one credential, or a malformed one"),
            Self::Jwt(Refusal::Forbidden(_)) => (403, Outcome::Forbidden, DENIED, "the token does not allow this"),
            Self::Jwt(Refusal::Invalid(_))  => (401, Outcome::Unauthorized, REQUEST, "the token is not valid"),
            Self::Jwt(Refusal::Missing)     => (401, Outcome::Unauthorized, REQUEST, "a bearer token is needed"),
            Self::MethodNotAllowed { .. }   => (405, Outcome::MethodNotAllowed, REQUEST, "no route takes this method on this path"),
            Self::NoInstance                => (503, Outcome::NoInstance, UNAVAILABLE, "the upstream has no usable instance"),
            Self::NoRoute                   => (404, Outcome::NoRoute, REQUEST, "no route matches this request"),
            Self::RateLimited { .. }        => (429, Outcome::RateLimited, REQUEST, "too many requests"),
            Self::UpstreamProtocol          => (502, Outcome::BadUpstream, "http_protocol_error", "the upstream's answer is not valid HTTP"),
            Self::UpstreamReset             => (502, Outcome::Reset, "connection_terminated", "the upstream closed the connection"),
            Self::UpstreamTimeout           => (504, Outcome::Timeout, "http_response_timeout", "the upstream did not answer in time"),
            Self::UpstreamTls               => (502, Outcome::ConnectFailed, "tls_protocol_error", "TLS with the instance failed"),
            Self::UriTooLong                => (414, Outcome::TooLarge, REQUEST, "the request's target is too long"),
        };
        Row { status, outcome, proxy_error, detail }
    }

    /// `Proxy-Status` (RFC 9209), which repeats the status where `http_request_error` asks for it.
    fn proxy_status(row: &Row) -> Option<HeaderValue> {
        let error = ["tollgate; error=", row.proxy_error].concat();
        let status = itoa::Buffer::new().format(row.status).to_owned();
        let text = match row.proxy_error {
            REQUEST => [&error, "; status-code=", &status].concat(),
            _ => error,
        };
        HeaderValue::try_from(text).ok()
    }

    /// Headers that only this cause has.
    fn own_headers(&self, headers: &mut HeaderMap) {
        match self {
            Self::CircuitBreakerOpen { retry_after } | Self::RateLimited { retry_after } => {
                headers.insert(RETRY_AFTER, HeaderValue::from(*retry_after));
            }
            Self::NoInstance => {
                headers.insert(RETRY_AFTER, HeaderValue::from(1));
            }
            Self::MethodNotAllowed { allow } => {
                let names: Vec<&str> = allow.iter().map(Method::as_str).collect();
                headers.extend(HeaderValue::try_from(names.join(", ")).map(|names| (ALLOW, names)));
            }
            Self::Jwt(refusal) => {
                headers.insert(WWW_AUTHENTICATE, challenge(refusal));
            }
            Self::BadRequest(_)
            | Self::BodyTimeout
            | Self::BodyTooLarge
            | Self::ClientClosed
            | Self::ConnectFailed => {}
            Self::ConnectTimeout
            | Self::Denied
            | Self::HeadTooLarge
            | Self::Internal
            | Self::NoRoute => {}
            Self::UpstreamProtocol
            | Self::UpstreamReset
            | Self::UpstreamTimeout
            | Self::UpstreamTls
            | Self::UriTooLong => {}
        }
    }

    /// The answer in the form that the client reads: problem+json (RFC 9457), HTML, plain text, or a gRPC status.
    pub fn answer(&self, asked: &Asked<'_>) -> Answer {
        let row = self.row();
        let mut headers = HeaderMap::with_capacity(6);
        headers.extend(Self::proxy_status(&row).map(|value| (PROXY_STATUS, value)));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        self.own_headers(&mut headers);
        if is_grpc(asked.headers) {
            return grpc(&row, headers);
        }
        let status = StatusCode::from_u16(row.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (kind, body) = match Form::of(asked.headers) {
            Form::Json => (PROBLEM_JSON, self.problem(&row, status, asked)),
            Form::Html => (
                HeaderValue::from_static("text/html; charset=utf-8"),
                html(&row, status, asked).into(),
            ),
            Form::Text => (
                HeaderValue::from_static("text/plain; charset=utf-8"),
                text(&row, status, asked).into(),
            ),
        };
        headers.insert(CONTENT_TYPE, kind);
        Answer { status, headers, body: body.into(), trailers_only: false }
    }

    /// RFC 9457's members and ours: `code`, `trace_id`.
    fn problem(&self, row: &Row, status: StatusCode, asked: &Asked<'_>) -> Vec<u8> {
        let kind =
            if matches!(self, Self::RateLimited { .. }) { QUOTA_EXCEEDED } else { "about:blank" };
        let mut body = Vec::with_capacity(PROBLEM_SIZE);
        let mut problem = Object::open(&mut body);
        problem.str("type", kind);
        problem.str("title", title(status));
        problem.number("status", row.status.into());
        problem.str("detail", row.detail);
        problem.str("code", row.outcome.as_str());
        problem.str("instance", &["urn:uuid:", asked.request_id].concat());
        problem.str("trace_id", asked.trace_id);
        problem.close();
        body
    }
}

/// `WWW-Authenticate`, without an error code where no credential was sent (RFC 6750 section 3.1).
fn challenge(refusal: &Refusal) -> HeaderValue {
    let text = match refusal {
        Refusal::Missing => return HeaderValue::from_static(r#"Bearer realm="tollgate""#),
        Refusal::Ambiguous => r#"Bearer realm="tollgate", error="invalid_request""#.to_owned(),
        Refusal::Invalid(reason) => {
            format!(
                r#"Bearer realm="tollgate", error="invalid_token", error_description="{}""#,
                reason.as_str()
            )
        }
        Refusal::Forbidden(scopes) if scopes.is_empty() => {
            r#"Bearer realm="tollgate", error="insufficient_scope""#.to_owned()
        }
        Refusal::Forbidden(scopes) => {
            format!(r#"Bearer realm="tollgate", error="insufficient_scope", scope="{scopes}""#)
        }
    };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Bearer"))
}

// === Forms ===

/// The forms that an answer can take.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Html,
    Json,
    Text,
}

impl Form {
    /// The form that `Accept` weighs highest, JSON where it does not matter (RFC 9110 section 12.5.1).
    fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if accept.is_empty() || accept == "*/*" {
            return Self::Json;
        }
        let mut best = (Self::Json, 0.0);
        for part in accept.split(',') {
            let (kind, parameters) = part.split_once(';').unwrap_or((part, ""));
            let form = match kind.trim() {
                "text/html" | "application/xhtml+xml" => Self::Html,
                "text/plain" => Self::Text,
                "application/json" | "application/problem+json" | "application/*" | "*/*" => {
                    Self::Json
                }
                _ => continue,
            };
            let weight =
                parameters.trim().strip_prefix("q=").and_then(|q| q.parse().ok()).unwrap_or(1.0);
            if weight > best.1 {
                best = (form, weight);
            }
        }
        best.0
    }
}

/// Whether the client speaks gRPC and so reads a status from headers alone.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// A gRPC status without a body, codes as in the gRPC status mapping.
fn grpc(row: &Row, mut headers: HeaderMap) -> Answer {
    let code = match row.status {
        400 => 3,
        401 => 16,
        403 => 7,
        404 | 405 => 12,
        408 | 504 => 4,
        413 | 414 | 429 | 431 => 8,
        502 | 503 => 14,
        _ => 13,
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(HeaderName::from_static("grpc-status"), HeaderValue::from(code));
    headers.insert(HeaderName::from_static("grpc-message"), HeaderValue::from_static(row.detail));
    Answer { status: StatusCode::OK, headers, body: Bytes::new(), trailers_only: true }
}

fn title(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}

fn html(row: &Row, status: StatusCode, asked: &Asked<'_>) -> String {
    let (code, title, id) = (row.status, title(status), asked.request_id);
    format!(
        "<!doctype html><title>{code} {title}</title><h1>{code} {title}</h1><p>{}</p><p><small>{id}</small></p>\n",
        row.detail
    )
}

fn text(row: &Row, status: StatusCode, asked: &Asked<'_>) -> String {
    format!("{} {}: {} ({})\n", row.status, title(status), row.detail, asked.request_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(accept: &'static str) -> Form {
        Form::of(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]))
    }

    #[test]
    fn the_form_is_the_one_that_accept_weighs_highest() {
        assert_eq!(
            form("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            Form::Html
        );
        assert_eq!(form("text/html;q=0.5, application/json"), Form::Json);
        assert_eq!(form("text/plain"), Form::Text);
        assert_eq!(form("image/png"), Form::Json);
        assert_eq!(form("*/*"), Form::Json);
        assert_eq!(Form::of(&HeaderMap::new()), Form::Json);
    }

    #[test]
    fn a_challenge_names_an_error_only_where_a_credential_was_sent() {
        assert_eq!(challenge(&Refusal::Missing), r#"Bearer realm="tollgate""#);
        let scopes = challenge(&Refusal::Forbidden("a b".into()));
        assert_eq!(scopes, r#"Bearer realm="tollgate", error="insufficient_scope", scope="a b""#);
    }

    #[test]
    fn a_grpc_client_gets_a_status_and_no_body() {
        let headers = HeaderMap::from_iter([(
            CONTENT_TYPE,
            HeaderValue::from_static("application/grpc+proto"),
        )]);
        let asked = Asked { headers: &headers, request_id: "", trace_id: "" };
        let answer = Cause::NoInstance.answer(&asked);
        assert_eq!((answer.status, answer.trailers_only), (StatusCode::OK, true));
        assert_eq!(answer.headers["grpc-status"], "14");
        assert!(answer.body.is_empty());
    }
}
