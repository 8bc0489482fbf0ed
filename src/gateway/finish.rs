//! The last phase: what is counted and logged of a request.

use std::time::{Duration, Instant};

use http::{Version, header::USER_AGENT};
use pingora::{Error, proxy::Session};

use super::{admit, ctx::Ctx, respond};
use crate::{
    answer::Cause,
    decision::Decided,
    telemetry::{
        Outcome, Policies,
        access_log::Record,
        metrics::{FinishedRequest, RouteMetrics},
    },
    upstream::Ending,
};

/// How a request ended.
pub(super) struct End {
    /// The status that the client got, or 499 where it went away before one.
    status: u16,
    outcome: Outcome,
    took: Duration,
    /// From the first try to the head of the response.
    upstream: Option<Duration>,
    /// The gateway's own part: up to the first try, or all of an answer that needed none.
    overhead: Duration,
}

/// Counts a finished request, and gives the breaker its report.
pub(super) fn report(session: &Session, error: Option<&Error>, ctx: &mut Ctx) -> End {
    if error.is_some() && ctx.cause.is_none() && ctx.head_at.is_some() {
        // The response had begun: the client sees it cut off, and there was no answer to be made of it.
        ctx.cause = ctx.attempts.failure.take();
    }
    let now = Instant::now();
    let end = End::of(session, ctx, now);
    let ending = ctx.cause.as_ref().map_or(Ending::Answered(end.status), respond::ending);
    ctx.report_to_breaker(ending, now);
    let metrics = ctx.route().map_or_else(|| ctx.snapshot.unmatched(), |route| &route.metrics);
    if let Some(decided) = &ctx.decided {
        count_policies(metrics, decided);
    }
    metrics.record(&FinishedRequest {
        method: &session.req_header().method,
        status: end.status,
        outcome: end.outcome,
        duration: end.took,
        overhead: end.overhead,
        request_bytes: session.as_downstream().body_bytes_read() as u64,
        response_bytes: session.as_downstream().body_bytes_sent() as u64,
    });
    end
}

fn count_policies(metrics: &RouteMetrics, decided: &Decided) {
    for policy in decided.shadow.iter() {
        metrics.shadow_rejection(policy);
    }
    if let Some(decision) = decided.limited {
        metrics.limit_decision(decision);
    }
    if let Some(result) = decided.token {
        metrics.token_result(result);
    }
}

/// The request as the access log shows it.
pub(super) fn record<'a>(session: &'a Session, ctx: &'a Ctx, end: &End) -> Record<'a> {
    let (head, seen, route) = (session.req_header(), ctx.seen.as_ref(), ctx.route());
    let target = ctx.target();
    Record {
        time: ctx.started_at,
        trace_id: seen.map(|seen| seen.marks.trace.trace_id()),
        span_id: seen.map(|seen| seen.marks.trace.span_id()),
        request_id: seen.map(|seen| seen.marks.request_id.as_str()),
        method: head.method.as_str(),
        path: head.uri.path().as_bytes(),
        scheme: if seen.is_some_and(|seen| seen.origin.tls) { "https" } else { "http" },
        host: Some(without_port(admit::authority(head)).as_bytes()).filter(|host| !host.is_empty()),
        protocol_version: version(head.version),
        user_agent: head.headers.get(USER_AGENT).map(http::HeaderValue::as_bytes),
        client_address: seen.map(|seen| seen.client),
        peer_address: seen.map(|seen| seen.origin.peer),
        status: Some(end.status),
        request_bytes: session.as_downstream().body_bytes_read() as u64,
        response_bytes: session.as_downstream().body_bytes_sent() as u64,
        error: ctx.cause.as_ref().map(|cause| cause.outcome().as_str()),
        duration: end.took,
        upstream_time: end.upstream,
        overhead: end.overhead,
        route: route.map(|route| &*route.name),
        route_path: route.map(|route| route.pattern()),
        upstream: target.map(|target| &*target.name),
        instance: ctx.attempts.instance.as_ref().map(|instance| instance.address),
        outcome: end.outcome,
        attempts: u32::from(ctx.attempts.count),
        shadow: ctx.decided.as_ref().map_or_else(Policies::default, |decided| decided.shadow),
        config: Some(ctx.snapshot.version()),
    }
}

// === impl End ===

impl End {
    fn of(session: &Session, ctx: &Ctx, now: Instant) -> Self {
        let written = session.response_written().map(|head| head.status.as_u16());
        let status = match &ctx.cause {
            Some(Cause::ClientClosed) => written.unwrap_or(499),
            Some(cause) => written.unwrap_or_else(|| cause.status()),
            None => written.unwrap_or(499),
        };
        let outcome = match &ctx.cause {
            Some(cause) => cause.outcome(),
            None if written.is_none() => Outcome::ClientClosed,
            None if status >= 500 && ctx.head_at.is_some() => Outcome::UpstreamStatus,
            None => Outcome::Ok,
        };
        let upstream = ctx
            .attempts
            .began
            .map(|began| ctx.head_at.unwrap_or(now).saturating_duration_since(began));
        let overhead = ctx.attempts.began.unwrap_or(now).saturating_duration_since(ctx.started);
        Self {
            status,
            outcome,
            took: now.saturating_duration_since(ctx.started),
            upstream,
            overhead,
        }
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}
