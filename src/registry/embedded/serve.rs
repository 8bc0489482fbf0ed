//! Serves the API on a listener, for as long as it is polled.
//!
//! Called by a session. Connections end with it, and neither their number, nor a request's head, nor the time that it
//! takes is without bound.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};

const MAX_CONNECTIONS: usize = 1024;
const MAX_HEAD: usize = 64 * 1024;

/// How long a connection may take to bring a request's head, or bring nothing.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves until the listener fails.
pub(super) async fn serve(listener: TcpListener, router: Router) -> io::Error {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Dropped with this future, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let place = places.clone().acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = connection(stream, router.clone());
                connections.spawn(async {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => return error,
        }
    }
}

async fn connection(stream: TcpStream, router: Router) {
    let result = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await;
    if let Err(error) = result {
        tracing::debug!(%error, "A connection to the embedded registry broke");
    }
}

/// The connection broke before it was accepted: nothing is wrong with the listener.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
