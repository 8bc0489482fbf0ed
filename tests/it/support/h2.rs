//! Upstream servers that speak HTTP/2, by prior knowledge or over TLS.

use std::net::SocketAddr;

use axum::Router;
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{
    service::Routes,
    transport::{Server, server::TcpIncoming},
};

/// A server on a port of its own; dropping it closes it.
pub(crate) struct H2Backend {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl H2Backend {
    /// Serves without TLS, and HTTP/2 alone.
    pub(crate) async fn serve(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = Server::builder()
            .add_routes(Routes::from(router))
            .serve_with_incoming(TcpIncoming::from(listener));
        let task = tokio::spawn(async move { serving.await.unwrap() });
        Self { address, task }
    }
}

impl Drop for H2Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}
