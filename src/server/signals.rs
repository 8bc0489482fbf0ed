//! What signals do: SIGHUP reloads, SIGTERM drains, SIGINT ends at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Server, StartError};
use crate::reload::{Loaded, Source};

/// Runs a gateway until a signal ends it. A second SIGTERM or SIGINT cuts the drain short.
///
/// `started` is told once it listens. Signals are taken over before anything starts: a SIGHUP by then kills nothing.
pub fn run(
    source: Source,
    loaded: Loaded,
    started: impl FnOnce(&Server),
) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Runtime)?;
    runtime.block_on(async {
        let mut signals = Signals::new().map_err(StartError::Runtime)?;
        let mut server = Server::start(source, &loaded)?;
        // The text of the file; what was built from it needs it no more.
        drop(loaded);
        started(&server);
        match signals.end(&server).await {
            End::Fast => {}
            End::Drain => tokio::select! {
                () = server.finish() => {}
                () = signals.again() => tracing::warn!("Ended before it was drained"),
            },
        }
        server.close();
        Ok(())
    })
}

enum End {
    Drain,
    Fast,
}

struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the signal that ends the process, and reloads on each SIGHUP until then.
    async fn end(&mut self, server: &Server) -> End {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {
                    // Logged and kept where it happens. It may wait for first views, and SIGTERM must not.
                    let reloader = server.reloader().clone();
                    tokio::spawn(async move { reloader.reload().await });
                }
                _ = self.interrupt.recv() => return End::Fast,
                _ = self.terminate.recv() => return End::Drain,
            }
        }
    }

    async fn again(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
