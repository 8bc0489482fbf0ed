//! Upstream servers: real HTTP servers that say what they were sent.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Json, Router, body::Bytes, extract::Request, response::Response};
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// A server on a port of its own; dropping it closes it.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    served: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Backend {
    /// Answers every request with JSON: its name, and the method, target, headers and body that it was sent.
    pub(crate) async fn echo(name: &'static str) -> Self {
        Self::serve(Router::new().fallback(async move |request: Request| echo(name, request).await))
            .await
    }

    /// Answers every request with one status.
    pub(crate) async fn status(status: u16) -> Self {
        Self::serve(
            Router::new().fallback(async move || http::StatusCode::from_u16(status).unwrap()),
        )
        .await
    }

    /// Answers as `answer` says.
    pub(crate) async fn answering<F, Fut>(answer: F) -> Self
    where
        F: Fn(Request) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Response> + Send + 'static,
    {
        Self::serve(Router::new().fallback(answer)).await
    }

    pub(crate) async fn serve(router: Router) -> Self {
        let served = Arc::new(AtomicUsize::new(0));
        let count = served.clone();
        let counted = router.layer(axum::middleware::map_request(move |request: Request| {
            count.fetch_add(1, Ordering::SeqCst);
            std::future::ready(request)
        }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, counted).await.unwrap() });
        Self { address, served, task }
    }

    /// How many requests it has answered.
    pub(crate) fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn echo(name: &str, request: Request) -> Json<Value> {
    let (head, body) = request.into_parts();
    // A client that breaks off is no failure of the test.
    let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut headers = Map::new();
    for (header, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers
            .entry(header.as_str())
            .or_insert_with(|| json!([]))
            .as_array_mut()
            .unwrap()
            .push(value.into());
    }
    Json(json!({
        "name": name,
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
        "length": body.len(),
    }))
}
