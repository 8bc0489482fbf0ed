//! The first two phases: bounds, what the head tells, and the decision.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{Uri, Version, header::HOST};
use pingora::{Error, ErrorType, Result, http::RequestHeader, proxy::Session};

use super::{
    Gateway,
    ctx::{Ctx, Seen},
    head::edit_request,
};
use crate::{
    answer::Cause,
    config::{Listener, Mode},
    decision::{self, Act, Facts, Verdict},
    forward::{Marks, Origin},
    route::{self, Host, normalise_host, normalise_path},
    telemetry::Policy,
};

/// The longest target that is looked at (RFC 9110 section 4.1 asks for at least 8000 octets).
const MAX_TARGET: usize = 16 * 1024;
/// How long a body is read on after an answer that did not need it.
const DRAIN: Duration = Duration::from_secs(2);

impl Gateway {
    /// Sets every wait of the connection: pingora's own defaults are mostly endless.
    pub(super) fn bound(&self, session: &mut Session, ctx: &mut Ctx) {
        let listener = self.listener(session);
        // What pingora calls keep-alive it sets anew with each request that it reads: to endless, or to none where the
        // client wants none, as one of HTTP/1.0 that waits for the end of the connection.
        let keep =
            if self.draining.load(Relaxed) || session.as_downstream().get_keepalive().is_none() {
                None
            } else {
                Some(listener.keep_alive.0.as_secs().max(1))
            };
        session.set_keepalive(keep);
        ctx.upgrade = session.is_upgrade_req();
        let silent = if ctx.upgrade { None } else { Some(listener.read_timeout.0) };
        session.set_read_timeout(silent);
        session.set_write_timeout(Some(listener.write_timeout.0));
        session.set_total_drain_timeout(Some(DRAIN));
    }

    /// The settings of the listener that a request came in on.
    fn listener(&self, session: &Session) -> &Listener {
        let port =
            session.server_addr().and_then(|address| address.as_inet()).map(SocketAddr::port);
        self.listeners
            .iter()
            .find(|(own, _)| Some(*own) == port)
            .map_or(&self.fallback, |(_, listener)| listener)
    }

    /// Learns from the head what every later phase needs, and finds out whether it is sound.
    pub(super) fn inspect(&self, session: &mut Session, ctx: &mut Ctx) {
        let peer = session
            .client_addr()
            .and_then(|address| address.as_inet())
            .map_or(IpAddr::from([0, 0, 0, 0]), |a| a.ip());
        let tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
        let head = session.req_header();
        let trusted = ctx.snapshot.trusted_proxies();
        let origin = Origin { peer, trusted: trusted.contains(peer), tls, at: ctx.started_at };
        ctx.seen = Some(Seen {
            client: trusted.client(peer, &head.headers).address,
            marks: Marks::of(&head.headers, &origin),
            origin,
        });
        let unsound = unsound(head, self.listener(session));
        ctx.cause = unsound.or_else(|| settle(session.req_header_mut()).err());
    }

    /// Asks the decision, and keeps what it says.
    pub(super) fn decide(&self, session: &mut Session, ctx: &mut Ctx) {
        if ctx.cause.is_some() {
            return;
        }
        let (Some(seen), head) = (&ctx.seen, session.req_header()) else { return };
        let host = match authority(head) {
            // HTTP/1.0 knew no Host; such a request can still have a route that asks for none.
            "" if head.version == Version::HTTP_10 => Ok(Host::default()),
            authority => normalise_host(authority),
        };
        let Ok(host) = host else {
            ctx.cause = Some(Cause::BadRequest("the host is missing, or is not one"));
            return;
        };
        let facts = Facts {
            request: route::Request {
                method: &head.method,
                host: &host.name,
                path: head.uri.path(),
                query: head.uri.query(),
                headers: &head.headers,
            },
            client: seen.client,
            now: ctx.started,
            now_unix: ctx.started_at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        };
        let decided =
            decision::decide(&ctx.snapshot, &facts, Act::Take, &mut fastrand::Rng::new(), &mut ());
        ctx.keep(decided);
    }
}

impl Ctx {
    fn keep(&mut self, mut decided: decision::Decided) {
        if let Some(route) = decided.route(&self.snapshot) {
            self.in_flight = Some(route.metrics.enter());
            self.body = route.max_body.as_ref().map(|limit| limit.policy.count());
        }
        if let Verdict::Forward(forward) = &mut decided.verdict {
            self.attempts.first = Some(forward.instance.clone());
            self.attempts.permit = forward.permit.take();
        }
        if let Verdict::Refused(cause) = &decided.verdict {
            self.cause = Some(cause.clone());
        }
        self.decided = Some(decided);
    }
}

/// What is wrong with a head whatever it asks for.
fn unsound(head: &RequestHeader, listener: &Listener) -> Option<Cause> {
    if head.raw_path().len() > MAX_TARGET {
        return Some(Cause::UriTooLong);
    }
    let (mut size, mut look_alike) = (0, false);
    for (name, value) in &head.headers {
        // Each line also has its `: ` and its line break.
        size += name.as_str().len() + value.len() + 4;
        // `X_User_Id` is `X-User-Id` to many servers behind us, so that it could pass for a header that we set.
        look_alike |= name.as_str().as_bytes().contains(&b'_');
    }
    if size as u64 > listener.max_head.0 {
        return Some(Cause::HeadTooLarge);
    }
    look_alike.then_some(Cause::BadRequest("a header name has an underscore"))
}

/// Gives a head the one form in which it is matched, checked and forwarded.
fn settle(head: &mut RequestHeader) -> Result<(), Cause> {
    origin_form(head)?;
    edit_request(head, |parts| normalise(&mut parts.uri))
}

/// Makes the target a path and a query, so that what is checked is what is forwarded.
///
/// Any other form of it pingora keeps beside the URI as it came, and forwards those bytes whatever the URI says.
fn origin_form(head: &mut RequestHeader) -> Result<(), Cause> {
    let target = head.raw_path();
    let begins = |scheme: &[u8]| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    if !head.raw_path_is_utf8() {
        return Err(Cause::BadRequest("the target is not text"));
    }
    if target.starts_with(b"/") {
        return Ok(());
    }
    if !begins(b"http://") && !begins(b"https://") {
        return Err(Cause::BadRequest("the target is neither a path nor a URL"));
    }
    head.set_uri(head.uri.clone());
    Ok(())
}

/// Puts the normal form of the path in the place of what was sent: it alone is matched, checked and forwarded.
fn normalise(uri: &mut Uri) -> Result<(), Cause> {
    let bad = Cause::BadRequest("the path is not one that can be read in one way only");
    let Cow::Owned(path) = normalise_path(uri.path()).map_err(|_| bad.clone())? else {
        return Ok(());
    };
    let mut parts = uri.clone().into_parts();
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    parts.path_and_query = Some(target.try_into().map_err(|_| bad.clone())?);
    *uri = Uri::from_parts(parts).map_err(|_| bad)?;
    Ok(())
}

/// The host that was asked for, with its port: the target's where it has one, otherwise `Host` (RFC 9112 section 3.3).
pub(super) fn authority(head: &RequestHeader) -> &str {
    let host = || head.headers.get(HOST).and_then(|host| host.to_str().ok());
    head.uri.authority().map(http::uri::Authority::as_str).or_else(host).unwrap_or_default()
}

/// Counts a body as it streams, for what no Content-Length told.
pub(super) fn count_body(body: Option<&Bytes>, ctx: &mut Ctx) -> Result<()> {
    let (Some(bytes), Some(count)) = (body, &mut ctx.body) else { return Ok(()) };
    if count.add(bytes.len()).is_ok() {
        return Ok(());
    }
    let mode = ctx
        .route()
        .and_then(|route| route.max_body.as_ref())
        .map_or(Mode::Enforce, |limit| limit.mode);
    ctx.body = None;
    if mode == Mode::Shadow {
        if let Some(decided) = &mut ctx.decided {
            decided.shadow.insert(Policy::MaxBody);
        }
        return Ok(());
    }
    ctx.cause = Some(Cause::BodyTooLarge);
    Err(Error::explain(ErrorType::HTTPStatus(413), "request body over the route's limit")
        .into_down())
}

/// When a request's total time is over.
pub(super) fn deadline(started: Instant, total: Duration) -> Instant {
    started.checked_add(total).unwrap_or(started)
}
