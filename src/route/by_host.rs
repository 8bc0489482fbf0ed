//! The routes of every host.
//!
//! Called by the table once a request. Never looks at anything but host and path, and yields candidates one by one in
//! order of precedence: the host itself, the longest wildcard, any host.

use std::{collections::HashMap, ops::ControlFlow};

use foldhash::fast::RandomState;

use super::{by_path::ByPath, pattern::Place};
use crate::config::HostPattern;

#[derive(Default)]
pub(super) struct ByHost {
    exact: HashMap<Box<str>, ByPath, RandomState>,
    /// `*.example.com` under `example.com`.
    wildcards: HashMap<Box<str>, ByPath, RandomState>,
    any: ByPath,
}

// === impl ByHost ===

impl ByHost {
    /// Adds a route behind those that are there, under each of its hosts.
    pub(super) fn insert(&mut self, place: &Place, route: usize) {
        if place.hosts.is_empty() {
            self.any.insert(&place.path, route);
        }
        for host in &place.hosts {
            let (hosts, name) = match host {
                HostPattern::Exact(name) => (&mut self.exact, name),
                HostPattern::Wildcard(name) => (&mut self.wildcards, name),
            };
            hosts.entry(name.as_str().into()).or_default().insert(&place.path, route);
        }
    }

    /// Visits the candidates for a host and a path until a visit breaks.
    pub(super) fn visit<V>(&self, host: &str, path: &str, visit: &mut V) -> ControlFlow<usize>
    where
        V: FnMut(usize) -> ControlFlow<usize>,
    {
        if let Some(routes) = self.exact.get(host) {
            routes.visit(path, visit)?;
        }
        if !self.wildcards.is_empty() {
            let mut name = host;
            while let Some((_, parent)) = name.split_once('.') {
                if let Some(routes) = self.wildcards.get(parent) {
                    routes.visit(path, visit)?;
                }
                name = parent;
            }
        }
        self.any.visit(path, visit)
    }
}
