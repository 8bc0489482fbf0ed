//! Where instances come from: what every registry yields, and the trait that each kind implements.
//!
//! A kind only connects, lists and watches. What to believe, and when, is the keeper's business and the same for all.

pub mod embedded;
mod file;
mod fixed;
mod keeper;
mod keepers;
pub mod nacos;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
pub use embedded::Embedded;
pub use keeper::{
    DiskCopy, Keeper, LinkState, Origin, RegistryStatus, ServiceStatus, Subscription, ViewCounts,
    ViewState,
};
pub use keepers::{Keepers, OpenError, Source};
use tokio::sync::{mpsc, watch};

/// One address of a service as its registry tells it, taken as it comes: weights may be anything here.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    pub address: SocketAddr,
    /// Relative to the service's other instances; 0 takes no traffic.
    pub weight: f64,
    /// What beats or probes say. An unhealthy instance may still be used in panic mode.
    pub healthy: bool,
    /// What the operator says. A disabled instance is never used.
    pub enabled: bool,
    pub metadata: BTreeMap<String, String>,
}

/// All that a registry says of one service at one moment. A failure to ask is an error and never a view.
#[derive(Clone, Debug, PartialEq)]
pub enum View {
    /// The registry answered, and does not know the service.
    Absent,
    Instances(Vec<Instance>),
}

/// Why a session ended or a read failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RegistryError {
    /// The registry refuses our credentials, or us.
    #[error("refused: {0}")]
    Auth(String),
    /// It answered with something that is not its protocol.
    #[error("unexpected answer: {0}")]
    Protocol(String),
    /// It cannot be reached or does not answer.
    #[error("unreachable: {0}")]
    Unavailable(String),
}

/// A set of services that routes name.
pub type Services = Arc<BTreeSet<Arc<str>>>;

/// A kind of registry.
#[async_trait]
pub trait Registry: Send + Sync + 'static {
    /// Runs one session: connects, publishes a full view of every wanted service, then one more whenever something
    /// changed, and follows changes of what is wanted.
    ///
    /// It returns when the session is lost, silence past its own liveness deadline included; the keeper then waits and
    /// starts another. It may be dropped at any await.
    async fn session(&self, session: Session) -> RegistryError;

    /// Reads one service anew, independently of any session. Used to confirm what looks suspicious and to find what a
    /// push has lost.
    async fn list(&self, service: &str) -> Result<View, RegistryError>;

    /// The longest wait between two sessions, for a kind that is nothing but a file beside us and may be asked often.
    fn longest_wait(&self) -> Option<Duration> {
        None
    }
}

/// A session's line to its keeper.
pub struct Session {
    services: watch::Receiver<Services>,
    events: mpsc::Sender<SessionEvent>,
}

/// What a session tells its keeper.
#[derive(Debug)]
pub enum SessionEvent {
    /// The registry was reached and accepted us.
    Live,
    View(Arc<str>, View),
}

// === impl Session ===

impl Session {
    /// A line, whose other end the keeper (or a test) holds.
    pub fn new(services: watch::Receiver<Services>, events: mpsc::Sender<SessionEvent>) -> Self {
        Self { services, events }
    }

    /// The services that are wanted now.
    pub fn services(&mut self) -> Services {
        self.services.borrow_and_update().clone()
    }

    /// Waits until other services are wanted than [`Self::services`] last returned. Never returns once the keeper has
    /// gone, since the session is about to be dropped with it.
    pub async fn services_changed(&mut self) {
        if self.services.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Says that the registry was reached and accepted us.
    pub async fn live(&self) {
        let _ = self.events.send(SessionEvent::Live).await;
    }

    /// Hands over all that the registry says of a service.
    pub async fn publish(&self, service: Arc<str>, view: View) {
        let _ = self.events.send(SessionEvent::View(service, view)).await;
    }
}
