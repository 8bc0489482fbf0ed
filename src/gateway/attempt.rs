//! The tries of one request: which instance next, what it is sent, and how it went.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{StatusCode, Version, header::TRANSFER_ENCODING};
use pingora::{
    Error, ErrorType, OrErr, Result,
    http::{RequestHeader, ResponseHeader},
    proxy::Session,
    upstreams::peer::HttpPeer,
};

use super::{
    admit,
    ctx::{Attempts, Ctx},
    fault::{self, Fault},
    head::{edit_request, edit_response},
};
use crate::{
    answer::Cause,
    forward::{self, Onward},
    policy::cors,
    telemetry::RetryReason,
    upstream::{self, Ending, Instance, LiveRequest},
};

/// The peer of the next try: the decision's pick first, then instances that were not tried yet.
pub(super) fn next_peer(ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
    let now = Instant::now();
    let total =
        ctx.target().map_or(Duration::ZERO, |target| target.upstream.config().timeouts.total.0);
    let left = admit::deadline(ctx.started, total).saturating_duration_since(now);
    if left.is_zero() {
        return Err(ctx.fail(Cause::UpstreamTimeout));
    }
    let Some(instance) = next_instance(ctx, now) else {
        let cause = ctx.attempts.failure.take().unwrap_or(Cause::NoInstance);
        return Err(ctx.fail(cause));
    };
    let peer = if ctx.upgrade { instance.upgrade_peer(left) } else { instance.peer(left) };
    ctx.attempts.begin(instance, now);
    Ok(peer)
}

fn next_instance(ctx: &mut Ctx, now: Instant) -> Option<Arc<Instance>> {
    if let Some(first) = ctx.attempts.first.take() {
        ctx.attempts.live = ctx.target().map(|target| target.upstream.retry_budget().request());
        return Some(first);
    }
    let untried = ctx.target()?.upstream.pick(&ctx.attempts.tried, now, &mut fastrand::Rng::new());
    // A request that a dead connection swallowed never reached its instance, which so may have it again.
    untried.or_else(|| ctx.attempts.instance.take_if(|_| ctx.attempts.unreached))
}

/// Makes the head what the chosen instance is to see.
pub(super) fn send_head(session: &Session, head: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
    let (Some(seen), Some(route)) = (&ctx.seen, ctx.route()) else { return Ok(()) };
    let asked = session.req_header();
    let path = route.rewrite.path(asked.uri.path());
    let jwt = route.jwt.as_ref().map(|jwt| &jwt.policy);
    let onward = Onward {
        origin: &seen.origin,
        marks: &seen.marks,
        authority: admit::authority(asked),
        host: route.rewrite.host(),
        path: &path,
        identity: ctx.snapshot.identity_headers(),
        drop_token: jwt.is_some_and(|jwt| !jwt.forwards_token()),
        edits: &route.request_edits,
    };
    let claims = ctx.decided.as_ref().and_then(|decided| decided.claims.as_ref());
    edit_request(head, |parts| {
        onward.apply(parts).or_err(ErrorType::InvalidHTTPHeader, "rewritten path")?;
        if let Some((jwt, claims)) = jwt.zip(claims) {
            parts
                .headers
                .extend(jwt.identity_headers(claims).map(|(name, value)| (name.clone(), value)));
        }
        Ok(())
    })
}

/// A connection that could not be made: the request has reached nobody, so another instance may always have it.
pub(super) fn connect_failed(_: &Session, ctx: &mut Ctx, mut error: Box<Error>) -> Box<Error> {
    let cause = fault::connect(&error);
    if let Some(target) = ctx.target() {
        target.metrics.connect_failed();
    }
    ctx.ended(Ending::Failed, Instant::now());
    error.set_retry(ctx.may_retry(RetryReason::ConnectFailed));
    ctx.attempts.failure = Some(cause);
    error
}

/// A connection that broke off. The request is sent again only where that is sure to be harmless.
pub(super) fn broke_off(
    session: &mut Session,
    ctx: &mut Ctx,
    mut error: Box<Error>,
    reused: bool,
) -> Box<Error> {
    let Fault { cause, ending } = fault::of(session, &error);
    let dead = reused
        && ending == Ending::Failed
        && fault::is_dead_connection(&error)
        && ctx.head_at.is_none();
    // That an idle connection was closed says nothing of the instance.
    ctx.ended(if dead { Ending::Aborted } else { ending }, Instant::now());
    let harmless = dead
        && session.req_header().method.is_idempotent()
        && !session.as_ref().retry_buffer_truncated();
    ctx.attempts.unreached = harmless;
    error.set_retry(
        harmless
            && session.response_written().is_none()
            && ctx.may_retry(RetryReason::DeadConnection),
    );
    ctx.attempts.failure = Some(cause);
    error
}

/// A response's head: how the try went, and what the client is to see of it.
pub(super) fn response_came(
    session: &mut Session,
    head: &mut ResponseHeader,
    ctx: &mut Ctx,
) -> Result<()> {
    let status = head.status;
    if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(());
    }
    let now = Instant::now();
    ctx.head_at = Some(now);
    let ending = Ending::Answered(status.as_u16());
    ctx.ended(ending, now);
    // A tunnel may stay for hours, and its breaker has learned what there is to learn.
    if status == StatusCode::SWITCHING_PROTOCOLS {
        ctx.report_to_breaker(ending, now);
    }
    let (Some(seen), Some(route)) = (&ctx.seen, ctx.route()) else { return Ok(()) };
    let asked = session.req_header();
    let limit = ctx.decided.as_ref().and_then(|decided| decided.limit.as_ref());
    let was_chunked = edit_response(head, |parts| {
        let headers = &mut parts.headers;
        forward::response(headers, status, &seen.marks.request_id, &route.response_edits);
        if route.has_cors() {
            for name in &cors::REPLACED {
                headers.remove(name);
            }
        }
        if route.annotates() {
            for (name, value) in route.annotations(&asked.headers, limit) {
                headers.append(name, value);
            }
        }
        // HTTP/1.0 knows no chunks: such a client reads to the end of the connection (RFC 9112 section 6.1).
        asked.version == Version::HTTP_10 && headers.remove(&TRANSFER_ENCODING).is_some()
    });
    if was_chunked {
        session.set_keepalive(None);
    }
    Ok(())
}

// === impl Attempts ===

impl Attempts {
    fn begin(&mut self, instance: Arc<Instance>, now: Instant) {
        self.tried.insert(instance.address);
        self.count = self.count.saturating_add(1);
        self.on_instance = Some(upstream::InFlight::new(instance.clone()));
        self.instance = Some(instance);
        self.began = Some(now);
        self.reported = false;
        self.unreached = false;
    }
}

// === impl Ctx ===

impl Ctx {
    /// An error that ends the request with `cause` as its answer.
    fn fail(&mut self, cause: Cause) -> Box<Error> {
        let error = Error::explain(ErrorType::HTTPStatus(cause.status()), cause.outcome().as_str());
        self.cause = Some(cause);
        error.into_in()
    }

    /// Reports the current try, once, to ejection and to the upstream's metrics.
    fn ended(&mut self, ending: Ending, now: Instant) {
        if std::mem::replace(&mut self.attempts.reported, true) {
            return;
        }
        let (Some(instance), Some(began)) = (&self.attempts.instance, self.attempts.began) else {
            return;
        };
        let Some(target) = self.target() else { return };
        target.upstream.report(instance, ending.for_ejection(), now);
        let status = if let Ending::Answered(status) = ending { Some(status) } else { None };
        target.metrics.record(status, now.saturating_duration_since(began));
    }

    /// Whether the request may be tried again: tries, time and the upstream's retry budget permitting.
    fn may_retry(&mut self, reason: RetryReason) -> bool {
        let Some(target) = self.target() else { return false };
        if self.attempts.count >= target.upstream.config().retries.tries.get() {
            return false;
        }
        let Some(permit) = self.attempts.live.as_ref().and_then(LiveRequest::try_retry) else {
            target.metrics.retry_refused();
            return false;
        };
        target.metrics.retried(reason);
        self.attempts.retry = Some(permit);
        true
    }

    /// Gives the breaker its one report of this request. Time is taken to the response's head: a long body is not slow.
    pub(super) fn report_to_breaker(&mut self, ending: Ending, now: Instant) {
        if let Some(permit) = self.attempts.permit.take() {
            let took = self.head_at.unwrap_or(now).saturating_duration_since(self.started);
            permit.report(ending.for_breaker(), took, now);
        }
    }
}
