//! Health, metrics and the status API, on a listener of its own.
//!
//! Served on the background runtime, so that a scrape or a curious dashboard never takes a thread from requests. It
//! shows state and changes none, but for `POST /api/v1/reload`.

mod metrics;
mod readiness;
mod status;

use std::{net::TcpListener, sync::Arc};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{
        HeaderMap, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE},
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;

use crate::{
    reload::Reloader,
    telemetry::{
        access_log::AccessLog,
        metrics::{Metrics, Page},
    },
};

pub use readiness::Readiness;
pub use status::{InstanceStatus, UpstreamStatus};

/// What the admin listener shows.
#[derive(Clone)]
pub struct Admin {
    pub reloader: Arc<Reloader>,
    pub metrics: Metrics,
    pub readiness: Arc<Readiness>,
    pub access_log: Option<Arc<AccessLog>>,
}

const INDEX: &str = "\
tollgate

GET  /livez                the process answers
GET  /readyz               it takes traffic
GET  /metrics              Prometheus
GET  /api/v1/routes        routes and their circuit breakers
GET  /api/v1/upstreams     upstreams and their instances
GET  /api/v1/registries    registries and what they last said
GET  /api/v1/config        what runs, and why the last file was refused if it was
POST /api/v1/reload        read the file again
";

impl Admin {
    /// Serves on a bound socket until the runtime ends.
    pub async fn serve(self, socket: TcpListener) {
        let served = match tokio::net::TcpListener::from_std(socket) {
            Ok(listener) => axum::serve(listener, self.router()).await,
            Err(error) => Err(error),
        };
        if let Err(error) = served {
            tracing::error!(%error, "The admin listener has ended");
        }
    }

    fn router(self) -> Router {
        let guarded = Router::new()
            .route("/", get(async || INDEX))
            .route("/metrics", get(page))
            .route("/api/v1/routes", get(routes))
            .route("/api/v1/upstreams", get(upstreams))
            .route("/api/v1/registries", get(registries))
            .route("/api/v1/config", get(config))
            .route("/api/v1/reload", post(reload))
            .route_layer(middleware::from_fn_with_state(self.clone(), ask_for_token));
        // A kubelet cannot send a token.
        let open = Router::new().route("/livez", get(async || "ok\n")).route("/readyz", get(ready));
        open.merge(guarded).with_state(self)
    }
}

/// Lets a request through that carries the admin token, where there is one.
async fn ask_for_token(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let snapshot = admin.reloader.snapshots().load();
    let Some(token) = &snapshot.config().admin.token else { return next.run(request).await };
    if bearer(request.headers())
        .is_some_and(|given| same(given.as_bytes(), token.reveal().as_bytes()))
    {
        return next.run(request).await;
    }
    let challenge = [(WWW_AUTHENTICATE, "Bearer realm=\"tollgate admin\"")];
    (StatusCode::UNAUTHORIZED, challenge, "the admin token is needed\n").into_response()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// Compares in a time that does not tell how much of it is right.
fn same(given: &[u8], wanted: &[u8]) -> bool {
    let differences = given.iter().zip(wanted).fold(0, |seen, (a, b)| seen | (a ^ b));
    given.len() == wanted.len() && differences == 0
}

async fn ready(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    match (admin.readiness.is_ready(), admin.readiness.is_draining()) {
        (true, _) => (StatusCode::OK, "ready\n"),
        (false, true) => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        (false, false) => {
            (StatusCode::SERVICE_UNAVAILABLE, "waiting for the first view of every service\n")
        }
    }
}

async fn page(State(admin): State<Admin>) -> Response {
    let mut page = admin.metrics.gather();
    let snapshot = admin.reloader.snapshots().load();
    metrics::add(&mut page, &snapshot, &admin.reloader.registry_status());
    if let Some(log) = &admin.access_log {
        log.collect(&mut page);
    }
    match page.render() {
        Ok(text) => ([(CONTENT_TYPE, Page::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn routes(State(admin): State<Admin>) -> Json<Vec<status::RouteStatus>> {
    Json(status::routes(&admin.reloader.snapshots().load()))
}

async fn upstreams(State(admin): State<Admin>) -> Json<Vec<UpstreamStatus>> {
    Json(status::upstreams(&admin.reloader.snapshots().load()))
}

async fn registries(State(admin): State<Admin>) -> Response {
    Json(admin.reloader.registry_status()).into_response()
}

async fn config(State(admin): State<Admin>) -> Response {
    Json(admin.reloader.config_status()).into_response()
}

async fn reload(State(admin): State<Admin>) -> Response {
    match admin.reloader.reload().await {
        Ok(change) => Json(change).into_response(),
        Err(problems) => {
            let problems: Vec<String> = problems.lines().collect();
            (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "problems": problems })))
                .into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_compared_whole() {
        assert!(same(b"secret", b"secret"));
        assert!(!same(b"secre", b"secret"));
        assert!(!same(b"secrets", b"secret"));
        assert!(!same(b"", b"secret"));
    }
}
