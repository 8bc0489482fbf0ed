//! One session: subscribes to what is wanted on one connection and hands on what the server says.
//!
//! Driven by the keeper through [`Nacos`]. Never mends anything: what it cannot go on without ends it, and the
//! keeper starts another.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{
    Nacos, Topic,
    connection::{CallError, Connection, Pushes},
    message::{HealthCheck, Push, PushAnswer, ServiceAnswer, Subscribe},
    service_info::ServiceInfo,
    wire::Payload,
};
use crate::registry::{RegistryError, Session};

/// As Nacos' own client. With the time-out of a request this bounds how long a dead connection goes unnoticed: 8 s.
const BEAT: Duration = Duration::from_secs(5);
/// A service that the server refuses is asked for again after so many beats.
const BEATS_TO_RETRY: u32 = 6;
/// Requests under way at once.
const CONCURRENCY: usize = 16;

/// A session's state.
pub(super) struct Run<'a> {
    nacos: &'a Nacos,
    connection: Connection,
    pushes: Pushes,
    session: Session,
    subscriptions: BTreeMap<Topic, Subscription>,
    queue: VecDeque<Task>,
    work: FuturesUnordered<BoxFuture<'a, Result<Done, RegistryError>>>,
    beats: u32,
}

/// A topic that is wanted, by each name that it is wanted under.
#[derive(Default)]
struct Subscription {
    services: BTreeSet<Arc<str>>,
    /// Of the newest view: an older one that comes late is dropped.
    last_ref_time: i64,
    refused: bool,
    /// What was last said in the log, so that it is said once.
    complaint: Option<String>,
}

/// What to send next.
enum Task {
    Subscribe(Topic),
    Unsubscribe(Topic),
}

/// What came of it.
enum Done {
    Beat,
    Subscribed(Topic, ServiceAnswer),
    Unsubscribed,
    Refused(Topic, String),
}

// === impl Run ===

impl<'a> Run<'a> {
    pub(super) fn new(
        nacos: &'a Nacos,
        (connection, pushes): (Connection, Pushes),
        session: Session,
    ) -> Self {
        Self {
            nacos,
            connection,
            pushes,
            session,
            subscriptions: BTreeMap::new(),
            queue: VecDeque::new(),
            work: FuturesUnordered::new(),
            beats: 0,
        }
    }

    /// Runs until the session is lost.
    pub(super) async fn run(mut self) -> Result<Infallible, RegistryError> {
        self.session.live().await;
        self.want();
        let mut beat = beats();
        loop {
            self.start();
            // A topic's requests must not overtake each other, so new wishes wait until the last ones were sent.
            let settled = self.work.is_empty();
            tokio::select! {
                payload = self.pushes.next() => self.pushed(&payload?).await?,
                Some(done) = self.work.next() => self.done(done?).await,
                () = self.session.services_changed(), if settled => self.want(),
                _ = beat.tick() => self.beat(),
            }
        }
    }

    /// Queues what leads from the topics that we have to those that are wanted.
    fn want(&mut self) {
        let mut wanted: BTreeMap<Topic, BTreeSet<Arc<str>>> = BTreeMap::new();
        for service in self.session.services().iter() {
            wanted.entry(self.nacos.topic(service)).or_default().insert(service.clone());
        }
        let gone = self.subscriptions.extract_if(.., |topic, _| !wanted.contains_key(topic));
        self.queue.extend(gone.map(|(topic, _)| Task::Unsubscribe(topic)));
        for (topic, services) in wanted {
            let subscription = self.subscriptions.entry(topic.clone()).or_default();
            // A second name of a topic needs a view of its own, which a subscription anew brings.
            if subscription.services != services {
                subscription.services = services;
                self.queue.push_back(Task::Subscribe(topic));
            }
        }
    }

    /// Sends what is queued, as much as may be under way at once.
    fn start(&mut self) {
        while self.work.len() < CONCURRENCY {
            let Some(task) = self.queue.pop_front() else { break };
            let (topic, subscribe) = match task {
                Task::Subscribe(topic) => (topic, true),
                Task::Unsubscribe(topic) => (topic, false),
            };
            let (nacos, connection) = (self.nacos, self.connection.clone());
            self.work.push(subscription(nacos, connection, topic, subscribe).boxed());
        }
    }

    fn beat(&mut self) {
        let connection = self.connection.clone();
        self.work.push(beat(connection).boxed());
        self.beats = self.beats.wrapping_add(1);
        if self.beats.is_multiple_of(BEATS_TO_RETRY) {
            let refused = self.subscriptions.iter().filter(|(_, one)| one.refused);
            self.queue.extend(refused.map(|(topic, _)| Task::Subscribe(topic.clone())));
        }
    }

    async fn done(&mut self, done: Done) {
        match done {
            Done::Beat | Done::Unsubscribed => {}
            Done::Subscribed(topic, answer) => {
                if let Some(subscription) = self.subscriptions.get_mut(&topic) {
                    subscription.refused = false;
                }
                // An answer without a service is one that has no instances.
                self.publish(&topic, answer.service_info.unwrap_or_default()).await;
            }
            Done::Refused(topic, reason) => {
                tracing::warn!(%topic, reason, "Nacos refuses the subscription; will ask again");
                if let Some(subscription) = self.subscriptions.get_mut(&topic) {
                    subscription.refused = true;
                }
            }
        }
    }

    async fn pushed(&mut self, payload: &Payload) -> Result<(), RegistryError> {
        let push: Push = match serde_json::from_str(&payload.text()) {
            Ok(push) => push,
            Err(error) => {
                // The keeper's next listing brings what it held.
                tracing::warn!(kind = payload.kind(), %error, "cannot read a push of Nacos");
                return Ok(());
            }
        };
        match payload.kind() {
            "NotifySubscriberRequest" => {
                self.answer("NotifySubscriberResponse", &push)?;
                if let Some(info) = push.service_info {
                    let topic = self.nacos.topic_of(&info);
                    self.publish(&topic, info).await;
                }
            }
            "ClientDetectionRequest" => self.answer("ClientDetectionResponse", &push)?,
            "SetupAckRequest" => self.answer("SetupAckResponse", &push)?,
            "ConnectResetRequest" => return Err(self.reset(&push)),
            kind => tracing::debug!(kind, "Nacos pushes what tollgate has no use for"),
        }
        Ok(())
    }

    fn answer(&self, kind: &str, push: &Push) -> Result<(), RegistryError> {
        match PushAnswer::to(push) {
            Some(answer) => self.pushes.answer(Payload::json(kind, &answer)),
            None => Ok(()),
        }
    }

    /// The server wants us elsewhere: it leaves, or has too many clients.
    fn reset(&self, push: &Push) -> RegistryError {
        let host = push.server_ip.as_deref().unwrap_or_default();
        self.nacos.servers.follow(host, push.server_port.as_deref().unwrap_or_default());
        RegistryError::Unavailable(format!("{} sends its clients away", self.connection.server()))
    }

    /// Hands on a service as the server has it, unless something newer came before.
    async fn publish(&mut self, topic: &Topic, info: ServiceInfo) {
        let Some(subscription) = self.subscriptions.get_mut(topic) else { return };
        if info.last_ref_time < subscription.last_ref_time {
            return;
        }
        subscription.last_ref_time = info.last_ref_time;
        let (view, complaint) = info.into_view(&self.nacos.clusters);
        if subscription.complaint != complaint {
            match &complaint {
                Some(complaint) => {
                    tracing::warn!(%topic, complaint, "Nacos says something strange")
                }
                None => tracing::info!(%topic, "Nacos says nothing strange any more"),
            }
            subscription.complaint = complaint;
        }
        for service in &subscription.services {
            self.session.publish(service.clone(), view.clone()).await;
        }
    }
}

fn beats() -> Interval {
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is now, when the connection has just answered.
    beat.reset();
    beat
}

async fn beat(connection: Connection) -> Result<Done, RegistryError> {
    match connection.call(&HealthCheck {}, None).await {
        Ok(_) => Ok(Done::Beat),
        Err(error) => Err(error.into_lost(connection.server())),
    }
}

async fn subscription(
    nacos: &Nacos,
    connection: Connection,
    topic: Topic,
    subscribe: bool,
) -> Result<Done, RegistryError> {
    let request = Subscribe { service: nacos.service(&topic), subscribe, clusters: "" };
    match (nacos.call(&connection, &request).await, subscribe) {
        (Ok(answer), true) => Ok(Done::Subscribed(topic, answer)),
        (Err(CallError::Failed(reason)), true) => Ok(Done::Refused(topic, reason)),
        // A topic that we cannot leave pushes for nothing, and that is all.
        (Ok(_) | Err(CallError::Failed(_)), false) => Ok(Done::Unsubscribed),
        (Err(error), _) => Err(error.into_lost(connection.server())),
    }
}
