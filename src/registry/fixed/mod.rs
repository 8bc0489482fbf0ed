//! Instances that stand in the file: addresses as they are, host names as DNS has them.
//!
//! Run by a keeper. It never resolves on a request, and never takes a resolver that fails for a name that is gone.

mod names;
mod resolver;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::Instant;

use super::{Instance, Registry, RegistryError, Services, Session, View};
use crate::config::{FixedInstance, InstanceAddress};
use names::{Known, Question, Schedule};
use resolver::{Answer, Resolve, ResolveError, SystemResolver};

/// No more questions than this are open at once.
const AT_ONCE: usize = 32;

/// A resolver that has not answered by then has failed. Shorter than the keeper waits for a read, or one silent name
/// would hold back all others of its service.
const ANSWER: Duration = Duration::from_secs(4);

/// The `fixed` kind: services whose instances the operator wrote down.
pub(super) struct Fixed {
    services: BTreeMap<String, Vec<FixedInstance>>,
    resolver: Arc<dyn Resolve>,
    known: Known,
}

// === impl Fixed ===

impl Fixed {
    /// Resolves as the system does: `/etc/hosts`, then the servers and search domains of `/etc/resolv.conf`.
    pub(super) fn new(services: BTreeMap<String, Vec<FixedInstance>>) -> Self {
        Self::with_resolver(services, Arc::new(SystemResolver::default()))
    }

    fn with_resolver(
        services: BTreeMap<String, Vec<FixedInstance>>,
        resolver: Arc<dyn Resolve>,
    ) -> Self {
        Self { services, resolver, known: Known::default() }
    }

    /// What is known of a service; `None` while that is nothing, and some name has not been answered yet.
    fn view(&self, service: &str) -> Option<View> {
        let Some(instances) = self.services.get(service) else { return Some(View::Absent) };
        let mut all = Vec::new();
        let mut open = false;
        for instance in instances {
            match &instance.address {
                InstanceAddress::Socket(address) => all.push(at(instance, *address)),
                InstanceAddress::Host { name, port } => {
                    for question in Question::both(name) {
                        let known = self.known.addresses(&question);
                        open |= known.is_none();
                        let known = known.into_iter().flatten();
                        all.extend(known.map(|ip| at(instance, SocketAddr::new(ip, *port))));
                    }
                }
            }
        }
        let unknown = all.is_empty() && open;
        (!unknown).then_some(View::Instances(all))
    }

    /// What has to be asked for these services.
    fn questions<'a>(&'a self, services: impl IntoIterator<Item = &'a str>) -> BTreeSet<Question> {
        let instances = services.into_iter().filter_map(|name| self.services.get(name)).flatten();
        let names = instances.filter_map(|instance| match &instance.address {
            InstanceAddress::Host { name, .. } => Some(name),
            InstanceAddress::Socket(_) => None,
        });
        names.flat_map(|name| Question::both(name)).collect()
    }

    async fn ask(&self, question: Question) -> (Question, Result<Answer, ResolveError>) {
        let answer = self.resolver.resolve(&question.name, question.family);
        let outcome = match tokio::time::timeout(ANSWER, answer).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ResolveError(format!("no answer within {ANSWER:?}"))),
        };
        (question, outcome)
    }

    async fn publish<'a>(&self, session: &Session, services: impl Iterator<Item = &'a Arc<str>>) {
        for service in services {
            if let Some(view) = self.view(service) {
                session.publish(service.clone(), view).await;
            }
        }
    }

    /// Publishes what an answer is about.
    async fn publish_users(&self, session: &Session, wanted: &Services, question: &Question) {
        let uses = |service: &&Arc<str>| self.questions([&***service]).contains(question);
        self.publish(session, wanted.iter().filter(uses)).await;
    }
}

#[async_trait]
impl Registry for Fixed {
    async fn session(&self, mut session: Session) -> RegistryError {
        session.live().await;
        let mut wanted = session.services();
        let mut schedule = Schedule::default();
        let mut asked = FuturesUnordered::new();
        let mut rng = fastrand::Rng::new();
        schedule.want(self.questions(wanted.iter().map(|name| &**name)), Instant::now());
        self.publish(&session, wanted.iter()).await;
        loop {
            while asked.len() < AT_ONCE
                && let Some(question) = schedule.next(Instant::now())
            {
                asked.push(self.ask(question));
            }
            let wake = schedule.deadline().filter(|_| asked.len() < AT_ONCE);
            tokio::select! {
                Some((question, outcome)) = asked.next(), if !asked.is_empty() => {
                    schedule.ended(&question, &outcome, Instant::now(), rng.f64());
                    match outcome {
                        Ok(answer) => {
                            self.known.learn(&question, answer);
                            self.publish_users(&session, &wanted, &question).await;
                        }
                        Err(error) => tracing::debug!(%question, %error, "A name is not resolved"),
                    }
                }
                () = session.services_changed() => {
                    let before = std::mem::replace(&mut wanted, session.services());
                    schedule.want(self.questions(wanted.iter().map(|name| &**name)), Instant::now());
                    self.publish(&session, wanted.difference(&before)).await;
                }
                () = sleep_until(wake) => {}
            }
        }
    }

    async fn list(&self, service: &str) -> Result<View, RegistryError> {
        let questions = self.questions([service]);
        let mut asked: FuturesUnordered<_> =
            questions.into_iter().map(|question| self.ask(question)).collect();
        while let Some((question, outcome)) = asked.next().await {
            match outcome {
                Ok(answer) => self.known.learn(&question, answer),
                // That a name is still gone is not known when nobody answers; what never was holds back nobody.
                Err(error) if self.known.has_lost(&question) => {
                    return Err(unresolved(&question, &error));
                }
                Err(error) => tracing::debug!(%question, %error, "A name is not resolved"),
            }
        }
        self.view(service).ok_or_else(|| {
            RegistryError::Unavailable(format!("no name of `{service}` could be resolved"))
        })
    }
}

fn unresolved(question: &Question, error: &ResolveError) -> RegistryError {
    RegistryError::Unavailable(format!("{question} cannot be resolved: {error}"))
}

fn at(instance: &FixedInstance, address: SocketAddr) -> Instance {
    Instance {
        address,
        weight: instance.weight,
        healthy: true,
        enabled: true,
        metadata: instance.metadata.clone(),
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
