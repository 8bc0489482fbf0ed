//! What one request carries through the phases.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use crate::{
    answer::Cause,
    decision::{Decided, Forward, Verdict},
    forward::{Marks, Origin},
    policy::body_size::BodyCount,
    snapshot::{Pin, Route, Target},
    telemetry::metrics::InFlight,
    upstream::{self, Instance, LiveRequest, Permit, Retry, Tried},
};

/// One request, from its first phase to its last.
///
/// Whatever has to be given back is given back when this is dropped, since a panic or a cancelled task never reaches
/// the logging phase.
pub struct Ctx {
    /// The one config that this request sees.
    pub snapshot: Pin,
    pub started: Instant,
    /// The same moment on the wall clock, for tokens and logs.
    pub started_at: SystemTime,
    /// Whether it asks for another protocol on its connection, such as WebSocket.
    pub upgrade: bool,
    /// What the head of the request told, once it was read and found sound.
    pub seen: Option<Seen>,
    pub decided: Option<Decided>,
    /// Counts the request as in flight on its route.
    pub in_flight: Option<InFlight>,
    pub attempts: Attempts,
    /// Bytes of the request's body so far, where the route limits them.
    pub body: Option<BodyCount>,
    /// Why the gateway answered by itself, when it did.
    pub cause: Option<Cause>,
    /// When the response's head came from the upstream.
    pub head_at: Option<Instant>,
}

/// What the first phase learned of a request.
pub struct Seen {
    pub origin: Origin,
    pub client: IpAddr,
    pub marks: Marks,
}

/// The tries of one request.
#[derive(Default)]
pub struct Attempts {
    pub tried: Tried,
    pub count: u8,
    /// The instance that the current try goes to.
    pub instance: Option<Arc<Instance>>,
    /// The decision's first pick, until the first try takes it.
    pub first: Option<Arc<Instance>>,
    pub permit: Option<Permit>,
    /// Counts the request for the retry budget.
    pub live: Option<LiveRequest>,
    pub retry: Option<Retry>,
    /// Counts the current try on its instance.
    pub on_instance: Option<upstream::InFlight>,
    /// When the current try began.
    pub began: Option<Instant>,
    /// Whether the current try was reported already.
    pub reported: bool,
    /// Whether the current try never reached its instance.
    pub unreached: bool,
    /// What the last try failed of.
    pub failure: Option<Cause>,
}

impl Ctx {
    pub fn new(snapshot: Pin) -> Self {
        Self {
            snapshot,
            started: Instant::now(),
            started_at: SystemTime::now(),
            upgrade: false,
            seen: None,
            decided: None,
            in_flight: None,
            attempts: Attempts::default(),
            body: None,
            cause: None,
            head_at: None,
        }
    }

    pub fn route(&self) -> Option<&Arc<Route>> {
        self.decided.as_ref()?.route(&self.snapshot)
    }

    /// The upstream that the decision chose, and the breaker between it and the route.
    pub fn target(&self) -> Option<&Target> {
        let decided = self.decided.as_ref()?;
        let Verdict::Forward(Forward { target, .. }) = &decided.verdict else { return None };
        decided.route(&self.snapshot)?.targets().get(*target)
    }
}
