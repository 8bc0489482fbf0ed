//! Writes the gateway's own answers.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{CONTENT_LENGTH, EXPECT, LOCATION},
};
use pingora::{
    Error, Result,
    http::ResponseHeader,
    protocols::http::HttpTask,
    proxy::{FailToProxy, Session},
};

use super::{admit, ctx::Ctx, fault};
use crate::{
    answer::{Answer, Asked, Cause},
    decision::Verdict,
    forward::RequestId,
    route::normalise_host,
    snapshot::Action,
    upstream::Ending,
};

/// An unread body up to this size is read and dropped after an answer, so that the connection lives on.
const READ_ON: u64 = 64 * 1024;

/// Sends an answer, and says that it was sent.
pub(super) async fn send(session: &mut Session, ctx: &Ctx, answer: Answer) -> Result<bool> {
    write(session, ctx, answer).await?;
    Ok(true)
}

/// The answer that the gateway makes by itself, if this request gets one.
pub(super) fn own_answer(session: &Session, ctx: &Ctx) -> Option<Answer> {
    if let Some(cause) = &ctx.cause {
        return Some(explained(session, ctx, cause));
    }
    let decided = ctx.decided.as_ref()?;
    let route = decided.route(&ctx.snapshot)?;
    match (&decided.verdict, &route.action) {
        (Verdict::Answer, Action::Answer(answer)) => Some(answer.clone()),
        (Verdict::Preflight(headers), _) => {
            Some(Answer { headers: headers.clone(), ..Answer::empty(StatusCode::NO_CONTENT) })
        }
        (Verdict::Redirect, Action::Redirect(redirect)) => {
            let asked = session.req_header();
            let scheme = if ctx.seen.as_ref().is_some_and(|seen| seen.origin.tls) {
                "https"
            } else {
                "http"
            };
            let host = normalise_host(admit::authority(asked)).unwrap_or_default();
            let location = redirect.location(scheme, &host, asked.uri.path(), asked.uri.query());
            let mut answer = Answer::empty(redirect.status());
            answer.headers.insert(LOCATION, HeaderValue::try_from(location).ok()?);
            Some(answer)
        }
        (Verdict::Answer | Verdict::Forward(_) | Verdict::Redirect | Verdict::Refused(_), _) => {
            None
        }
    }
}

/// Answers an error of pingora's, where anybody is left to hear it and nothing was sent yet.
pub(super) async fn answer_error(
    session: &mut Session,
    error: &Error,
    ctx: &mut Ctx,
) -> FailToProxy {
    let fault = fault::of(session, error);
    let cause = ctx.cause.clone().or_else(|| ctx.attempts.failure.take()).unwrap_or(fault.cause);
    ctx.report_to_breaker(ending(&cause), Instant::now());
    let status = cause.status();
    if session.response_written().is_none() && cause != Cause::ClientClosed {
        let answer = explained(session, ctx, &cause);
        if let Err(error) = write(session, ctx, answer).await {
            tracing::debug!(%error, "An answer could not be written");
        }
    }
    ctx.cause = Some(cause);
    FailToProxy { error_code: status, can_reuse_downstream: false }
}

/// What the breaker hears of a request that ended with an answer of ours.
pub(super) fn ending(cause: &Cause) -> Ending {
    match cause {
        Cause::ConnectFailed | Cause::ConnectTimeout | Cause::UpstreamProtocol => Ending::Failed,
        Cause::UpstreamReset | Cause::UpstreamTimeout | Cause::UpstreamTls => Ending::Failed,
        Cause::BadRequest(_)
        | Cause::BodyTimeout
        | Cause::BodyTooLarge
        | Cause::CircuitBreakerOpen { .. } => Ending::Aborted,
        Cause::ClientClosed
        | Cause::Denied
        | Cause::HeadTooLarge
        | Cause::Internal
        | Cause::Jwt(_) => Ending::Aborted,
        Cause::MethodNotAllowed { .. }
        | Cause::NoInstance
        | Cause::NoRoute
        | Cause::RateLimited { .. } => Ending::Aborted,
        Cause::UriTooLong => Ending::Aborted,
    }
}

fn explained(session: &Session, ctx: &Ctx, cause: &Cause) -> Answer {
    let headers = &session.req_header().headers;
    let seen = ctx.seen.as_ref();
    let asked = Asked {
        headers,
        request_id: seen.map_or("", |seen| seen.marks.request_id.as_str()),
        trace_id: seen.map_or("", |seen| seen.marks.trace.trace_id()),
    };
    cause.answer(&asked)
}

/// Sends an answer, with what the route changes and policies add on every response.
async fn write(session: &mut Session, ctx: &Ctx, mut answer: Answer) -> Result<()> {
    add_headers(session, ctx, &mut answer.headers);
    if !answer.trailers_only && answer.status != StatusCode::NO_CONTENT {
        answer.headers.insert(CONTENT_LENGTH, answer.body.len().into());
    }
    let mut head = http::Response::new(()).into_parts().0;
    head.status = answer.status;
    head.headers = answer.headers;
    let head: Box<ResponseHeader> = Box::new(head.into());
    if answer.trailers_only {
        // Session::write_response_header loses the end of the stream on HTTP/2, and a gRPC client then sees a reset.
        session.as_downstream_mut().response_duplex_vec(vec![HttpTask::Header(head, true)]).await?;
        return Ok(());
    }
    keep_connection(session);
    let body = if session.req_header().method == Method::HEAD { Bytes::new() } else { answer.body };
    session.write_response_header(head, false).await?;
    session.write_response_body(Some(body), true).await
}

/// In the order of a forwarded response: the route's own changes, then what policies say, which is not for it to change.
fn add_headers(session: &Session, ctx: &Ctx, headers: &mut HeaderMap) {
    if let Some(seen) = &ctx.seen {
        headers.insert(RequestId::HEADER, seen.marks.request_id.value());
    }
    let Some(decided) = &ctx.decided else { return };
    // The answer to a preflight is whole as it is.
    if matches!(decided.verdict, Verdict::Preflight(_)) {
        return;
    }
    let Some(route) = decided.route(&ctx.snapshot) else { return };
    route.response_edits.apply(headers);
    for (name, value) in route.annotations(&session.req_header().headers, decided.limit.as_ref()) {
        headers.append(name, value);
    }
}

/// An answer that leaves a body unread costs the client its connection, which for a small body is not worth it.
fn keep_connection(session: &mut Session) {
    let headers = &session.req_header().headers;
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse::<u64>().ok());
    if length.is_some_and(|length| length <= READ_ON) && !headers.contains_key(EXPECT) {
        session.as_downstream_mut().set_close_on_response_before_downstream_finish(false);
        session.as_downstream_mut().set_total_drain_timeout(Some(Duration::from_secs(2)));
    }
}
