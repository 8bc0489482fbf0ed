//! Drives one request through pingora's phases.
//!
//! The only place that knows `ProxyHttp` and its `Session`. Each phase is one short method that hands facts to the layers
//! below and writes down what they say; nothing is decided here.

mod admit;
mod attempt;
mod ctx;
mod fault;
mod finish;
mod head;
mod phase;
mod respond;

use std::{
    os::fd::RawFd,
    sync::{Arc, atomic::AtomicBool},
};

use async_trait::async_trait;
use bytes::Bytes;
use pingora::{
    Error, ErrorSource, Result,
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    protocols::Digest,
    proxy::{FailToProxy, ProxyHttp, Session},
    upstreams::peer::HttpPeer,
};

use crate::{config::Listener, snapshot::Pins, telemetry::access_log::AccessLog};

use ctx::Ctx;
use phase::{at_once, done, no, over, yes};

/// The gateway, as pingora drives it.
pub struct Gateway {
    pub snapshots: Arc<Pins>,
    pub access_log: Option<Arc<AccessLog>>,
    /// Settings of each listener, by the port that it listens on.
    pub listeners: Vec<(u16, Listener)>,
    /// Settings for a connection of which the system cannot say where it came in.
    pub fallback: Listener,
    /// True once the gateway drains: connections are then not kept open any longer.
    pub draining: Arc<AtomicBool>,
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::new(self.snapshots.pin())
    }

    /// None: the default is a compression module that costs every request and does nothing.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    at_once! {
        ['s, 'c] fn early_request_filter(self, session: &'s mut Session, ctx: &'c mut Ctx) -> Result<()> {
            self.bound(session, ctx);
            self.inspect(session, ctx);
            done(Ok(()))
        }

        ['s, 'c] fn request_filter(self, session: &'s mut Session, ctx: &'c mut Ctx) -> Result<bool> {
            self.decide(session, ctx);
            match respond::own_answer(session, ctx) {
                Some(answer) => Box::pin(respond::send(session, ctx, answer)),
                None => no(),
            }
        }

        ['s, 'h, 'c] fn upstream_request_filter(
            self,
            session: &'s mut Session,
            head: &'h mut RequestHeader,
            ctx: &'c mut Ctx,
        ) -> Result<()> {
            done(attempt::send_head(session, head, ctx))
        }

        ['s, 'b, 'c] fn request_body_filter(
            self,
            _session: &'s mut Session,
            body: &'b mut Option<Bytes>,
            _end: bool,
            ctx: &'c mut Ctx,
        ) -> Result<()> {
            done(admit::count_body(body.as_ref(), ctx))
        }

        ['s, 'h, 'c] fn response_filter(
            self,
            session: &'s mut Session,
            head: &'h mut ResponseHeader,
            ctx: &'c mut Ctx,
        ) -> Result<()> {
            done(attempt::response_came(session, head, ctx))
        }

        ['s, 'e, 'c] fn logging(self, session: &'s mut Session, error: Option<&'e Error>, ctx: &'c mut Ctx) -> () {
            let end = finish::report(session, error, ctx);
            if let Some(log) = &self.access_log {
                log.write(&finish::record(session, ctx, &end));
            }
            over()
        }
    }

    async fn upstream_peer(&self, _: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        attempt::next_peer(ctx)
    }

    // Nothing is done in these; what pingora does by default is the same and takes heap.
    at_once! {
        ['s, 'c] fn proxy_upstream_filter(self, _session: &'s mut Session, _ctx: &'c mut Ctx) -> Result<bool> {
            yes()
        }

        ['s, 'p, 'd, 'c] fn connected_to_upstream(
            self,
            _session: &'s mut Session,
            _reused: bool,
            _peer: &'p HttpPeer,
            _fd: RawFd,
            _digest: Option<&'d Digest>,
            _ctx: &'c mut Ctx,
        ) -> Result<()> {
            done(Ok(()))
        }

        ['s, 'h, 'c] fn upstream_response_filter(
            self,
            _session: &'s mut Session,
            _head: &'h mut ResponseHeader,
            _ctx: &'c mut Ctx,
        ) -> Result<()> {
            done(Ok(()))
        }
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _: &HttpPeer,
        ctx: &mut Ctx,
        error: Box<Error>,
    ) -> Box<Error> {
        attempt::connect_failed(session, ctx, error)
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Ctx,
        reused: bool,
    ) -> Box<Error> {
        attempt::broke_off(session, ctx, error, reused)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Ctx,
    ) -> FailToProxy {
        respond::answer_error(session, error, ctx).await
    }

    /// A client that goes away is no event of ours; logged as errors, such clients could flood the log.
    fn suppress_error_log(&self, _: &Session, ctx: &Ctx, error: &Error) -> bool {
        *error.esource() == ErrorSource::Downstream || ctx.cause.is_some()
    }
}
