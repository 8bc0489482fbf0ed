//! Drives one request through pingora's phases.
//!
//! The only place that knows `ProxyHttp` and its `Session`. Each phase is one short method that hands facts to the layers
//! below and writes down what they say; nothing is decided here.

mod admit;
mod attempt;
mod ctx;
mod fault;
mod finish;
mod respond;

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use pingora::{
    Error, ErrorSource, Result,
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    proxy::{FailToProxy, ProxyHttp, Session},
    upstreams::peer::HttpPeer,
};
use tokio::sync::watch;

use crate::{config::Listener, snapshot::Snapshot, telemetry::access_log::AccessLog};

use ctx::Ctx;

/// The gateway, as pingora drives it.
pub struct Gateway {
    pub snapshots: Arc<ArcSwap<Snapshot>>,
    pub access_log: Option<Arc<AccessLog>>,
    /// Settings of each listener, by the port that it listens on.
    pub listeners: Vec<(u16, Listener)>,
    /// Settings for a connection of which the system cannot say where it came in.
    pub fallback: Listener,
    /// True once the gateway drains: connections are then not kept open any longer.
    pub draining: watch::Receiver<bool>,
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::new(self.snapshots.load_full())
    }

    /// None: the default is a compression module that costs every request and does nothing.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        self.bound(session);
        self.inspect(session, ctx);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        self.decide(session, ctx);
        respond::answer_if_decided(session, ctx).await
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        attempt::next_peer(session, ctx)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        head: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        attempt::send_head(session, head, ctx)
    }

    async fn request_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        _end: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        admit::count_body(body.as_ref(), ctx)
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

    async fn response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        attempt::response_came(session, head, ctx)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Ctx,
    ) -> FailToProxy {
        respond::answer_error(session, error, ctx).await
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Ctx) {
        let end = finish::report(session, error, ctx);
        if let Some(log) = &self.access_log {
            log.write(&finish::record(session, ctx, &end));
        }
    }

    /// A client that goes away is no event of ours; logged as errors, such clients could flood the log.
    fn suppress_error_log(&self, _: &Session, ctx: &Ctx, error: &Error) -> bool {
        *error.esource() == ErrorSource::Downstream || ctx.cause.is_some()
    }
}
