//! Nacos 2 and 3 as a registry: subscribes by gRPC and takes instances as they are pushed.
//!
//! Driven by the keeper. Never registers anything, never writes to disk, and asks HTTP for nothing but a token.
//!
//! The protocol is spoken here rather than through `nacos-sdk`, of which 0.8.3 was tried against a server: it drops
//! the first answer and every error of a subscription; it delivers the changes of one service out of order and
//! without a version, so that a stale list can stay for good; it takes any answer that decodes for a success, a 403
//! included; its calls wait without end while the server is away; it compares the clocks of different servers; TLS is
//! chosen when compiling; and it reads `.env` and environment variables of its own. What a gateway needs is smaller
//! than the ways around that.

mod connection;
#[cfg(test)]
mod fake;
mod login;
mod message;
mod servers;
mod service_info;
mod session;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;

use async_trait::async_trait;
use parking_lot::Mutex;

pub use self::servers::AddressError;
use self::{
    connection::{CallError, Connection},
    login::Login,
    message::{Request, Service, ServiceQuery},
    servers::Servers,
    service_info::ServiceInfo,
    session::Run,
};
use super::{Registry, RegistryError, Session, View};
use crate::config::NacosRegistry;

/// A Nacos server or cluster.
pub struct Nacos {
    servers: Servers,
    namespace: String,
    group: String,
    clusters: Vec<String>,
    login: Option<Login>,
    /// The session's connection, which listings share while there is one.
    live: Mutex<Option<Connection>>,
}

/// What Nacos calls a service: a name in a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Topic {
    group: String,
    name: String,
}

/// Takes the session's connection back from the listings when the session ends, however it ends.
struct Lent<'a>(&'a Mutex<Option<Connection>>);

// === impl Nacos ===

impl Nacos {
    /// `chance` chooses the server to begin with.
    pub fn new(config: &NacosRegistry, chance: u64) -> Result<Self, AddressError> {
        let username = config.username.as_deref();
        // Consoles show the public namespace's id as nothing.
        let namespace = Some(&config.namespace).filter(|id| !id.is_empty());
        Ok(Self {
            servers: Servers::new(config, chance)?,
            namespace: namespace.map_or_else(|| "public".into(), Clone::clone),
            group: config.group.clone(),
            clusters: config.clusters.clone(),
            login: username.map(|name| Login::new(name, config.password.as_ref())),
            live: Mutex::new(None),
        })
    }

    async fn run(&self, session: Session) -> RegistryError {
        let halves = match Connection::open(self.servers.current(), &self.namespace).await {
            Ok(halves) => halves,
            Err(error) => return error,
        };
        *self.live.lock() = Some(halves.0.clone());
        let _lent = Lent(&self.live);
        let Err(error) = Run::new(self, halves, session).run().await;
        error
    }

    /// Asks with our token, and once more with a new one if that is refused.
    async fn call<R: Request>(
        &self,
        connection: &Connection,
        request: &R,
    ) -> Result<R::Answer, CallError> {
        let Some(login) = &self.login else {
            return connection.call(request, None).await;
        };
        let server = connection.server();
        let token = login.token(server, None).await.map_err(CallError::Lost)?;
        match connection.call(request, Some(&token)).await {
            Err(CallError::Denied(_)) => {
                let token = login.token(server, Some(&token)).await.map_err(CallError::Lost)?;
                connection.call(request, Some(&token)).await
            }
            answer => answer,
        }
    }

    /// The topic of a service as routes name it: `GROUP@@SERVICE`, or `SERVICE` in the configured group.
    fn topic(&self, service: &str) -> Topic {
        let (group, name) = service.split_once("@@").unwrap_or((&self.group, service));
        Topic { group: group.into(), name: name.into() }
    }

    /// The topic of a push. Some servers repeat the group in the name.
    fn topic_of(&self, info: &ServiceInfo) -> Topic {
        match info.name.split_once("@@") {
            Some((group, name)) => Topic { group: group.into(), name: name.into() },
            None => Topic { group: info.group_name.clone(), name: info.name.clone() },
        }
    }

    fn service<'a>(&'a self, topic: &'a Topic) -> Service<'a> {
        Service {
            namespace: &self.namespace,
            group_name: &topic.group,
            service_name: &topic.name,
            module: "naming",
        }
    }
}

#[async_trait]
impl Registry for Nacos {
    async fn session(&self, session: Session) -> RegistryError {
        let server = self.servers.current().clone();
        let error = self.run(session).await;
        self.servers.leave(&server);
        error
    }

    /// Shares the session's connection; without a session, connects for this one question.
    async fn list(&self, service: &str) -> Result<View, RegistryError> {
        let live = self.live.lock().clone();
        let (connection, _stream) = match live {
            Some(connection) => (connection, None),
            None => {
                let halves = Connection::open(self.servers.current(), &self.namespace).await?;
                (halves.0, Some(halves.1))
            }
        };
        let topic = self.topic(service);
        let service = self.service(&topic);
        let request = ServiceQuery { service, cluster: "", healthy_only: false, udp_port: 0 };
        let answer = self.call(&connection, &request).await;
        let answer = answer.map_err(|error| error.into_lost(connection.server()))?;
        Ok(answer.service_info.unwrap_or_default().into_view(&self.clusters).0)
    }
}

// === impl Topic ===

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@@{}", self.group, self.name)
    }
}

// === impl Lent ===

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}
