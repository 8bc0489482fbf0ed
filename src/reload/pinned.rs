//! What cannot change while the process runs: sockets, threads, and where things are written.

use std::{collections::BTreeMap, net::SocketAddr, ops::Range};

use crate::config::{Config, RegistryKind};

/// A change that needs a restart.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{what} cannot change while the gateway runs: restart it, or put back what was there")]
pub(super) struct RestartNeeded {
    pub(super) what: String,
    pub(super) span: Option<Range<usize>>,
}

/// Finds the first change that a reload cannot make. To make the rest and keep silent would be worse than to refuse.
pub(super) fn refuse_changes(before: &Config, after: &Config) -> Result<(), RestartNeeded> {
    let needed = |what: &str, span| Err(RestartNeeded { what: what.to_owned(), span });
    if before.listener != after.listener {
        let span = after
            .listener
            .iter()
            .find(|(name, listener)| before.listener.get(*name) != Some(listener));
        return needed("[listener]", span.and_then(|(_, listener)| listener.address.span()));
    }
    if before.admin.address != after.admin.address {
        return needed("the address of [admin]", after.admin.address.span());
    }
    if embedded(before) != embedded(after) {
        let span = after.registry.iter().find_map(|(name, registry)| match &registry.kind {
            RegistryKind::Embedded(embedded) if before.registry.get(name) != Some(registry) => {
                embedded.listen.span()
            }
            RegistryKind::Embedded(_) | RegistryKind::File(_) | RegistryKind::Nacos(_) => None,
        });
        return needed("the address of an embedded registry", span);
    }
    if before.access_log != after.access_log {
        return needed("[access_log]", None);
    }
    if before.server.threads != after.server.threads
        || before.server.state_dir != after.server.state_dir
    {
        return needed("`threads` or `state_dir` of [server]", None);
    }
    Ok(())
}

fn embedded(config: &Config) -> BTreeMap<&str, SocketAddr> {
    config
        .registry
        .iter()
        .filter_map(|(name, registry)| match &registry.kind {
            RegistryKind::Embedded(embedded) => Some((name.as_str(), *embedded.listen)),
            RegistryKind::File(_) | RegistryKind::Nacos(_) => None,
        })
        .collect()
}
