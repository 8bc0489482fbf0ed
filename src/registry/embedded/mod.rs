//! tollgate itself as a small registry for one machine.
//!
//! Run by the keeper like any other kind. It speaks the part of Nacos' v1 open API that instances register with, so
//! that Nacos' HTTP clients work with it as they are. It is no cluster, and keeps nothing on disk.

mod api;
mod params;
mod serve;
mod service;
mod store;

use std::{net::TcpListener, sync::Arc};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use self::{service::ServiceKey, store::Store};
use super::{Registry, RegistryError, Services, Session, View};

/// The embedded registry. What has registered outlives its sessions.
pub struct Embedded {
    listener: TcpListener,
    shared: Arc<Shared>,
}

/// What the API and the session share.
#[derive(Default)]
struct Shared {
    store: Mutex<Store>,
    changed: Notify,
}

// === impl Embedded ===

impl Embedded {
    /// A registry that serves on this listener whenever a session runs.
    pub fn new(listener: TcpListener) -> Arc<Self> {
        Arc::new(Self { listener, shared: Arc::default() })
    }

    /// A handle of the listener for the runtime that a session runs on.
    fn bound(&self) -> std::io::Result<tokio::net::TcpListener> {
        let listener = self.listener.try_clone()?;
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener)
    }
}

#[async_trait]
impl Registry for Embedded {
    async fn session(&self, session: Session) -> RegistryError {
        let listener = match self.bound() {
            Ok(listener) => listener,
            Err(error) => return RegistryError::Unavailable(error.to_string()),
        };
        let router = api::router(self.shared.clone());
        // Side by side: a keeper that is slow to take views must not hold up the beats.
        tokio::select! {
            error = serve::serve(listener, router) => RegistryError::Unavailable(error.to_string()),
            never = self.shared.follow(session) => match never {},
        }
    }

    async fn list(&self, service: &str) -> Result<View, RegistryError> {
        Ok(self.shared.store.lock().view(&ServiceKey::of_route(service)))
    }
}

// === impl Shared ===

impl Shared {
    /// Publishes every wanted service, and then what changes of them, as clients or time change it.
    async fn follow(&self, mut session: Session) -> std::convert::Infallible {
        {
            let mut store = self.store.lock();
            store.resume(Instant::now());
            store.take_changed();
        }
        session.live().await;
        let mut known = Services::default();
        loop {
            let wanted = session.services();
            for service in wanted.difference(&known) {
                self.publish(&session, service).await;
            }
            known = wanted;
            let (next, changed) = {
                let mut store = self.store.lock();
                (store.expire(Instant::now()), store.take_changed())
            };
            for service in known.iter() {
                if changed.contains(&ServiceKey::of_route(service)) {
                    self.publish(&session, service).await;
                }
            }
            let expiry = async {
                match next {
                    Some(next) => sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = session.services_changed() => {}
                () = expiry => {}
            }
        }
    }

    async fn publish(&self, session: &Session, service: &Arc<str>) {
        let view = self.store.lock().view(&ServiceKey::of_route(service));
        session.publish(service.clone(), view).await;
    }

    /// Changes the store, and tells the session if there is something to tell.
    fn change<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        let mut store = self.store.lock();
        let result = change(&mut store);
        // Whatever brings the next expiry nearer has changed a view as well.
        let has_changed = store.has_changed();
        drop(store);
        if has_changed {
            self.changed.notify_one();
        }
        result
    }
}

#[cfg(test)]
mod tests;
