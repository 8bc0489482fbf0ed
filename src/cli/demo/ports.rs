//! Other ports for the demo, where its own are taken.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
};

use parking_lot::Mutex;

use crate::config::{Config, RegistryKind};

/// The addresses that were taken, and those that stand in for them; the same after a reload as at the start.
#[derive(Default)]
pub(super) struct Ports(Mutex<BTreeMap<SocketAddr, SocketAddr>>);

impl Ports {
    /// Moves every listener of the config to a port that is free.
    pub(super) fn move_to_free_ports(&self, config: &mut Config) {
        for listener in config.listener.values_mut() {
            listener.address = self.free(*listener.address).into();
        }
        config.admin.address = self.free(*config.admin.address).into();
        for registry in config.registry.values_mut() {
            if let RegistryKind::Embedded(embedded) = &mut registry.kind {
                embedded.listen = self.free(*embedded.listen).into();
            }
        }
    }

    fn free(&self, wanted: SocketAddr) -> SocketAddr {
        *self.0.lock().entry(wanted).or_insert_with(|| {
            let port_of = |address: SocketAddr| {
                TcpListener::bind(address).and_then(|socket| socket.local_addr())
            };
            let any = SocketAddr::new(wanted.ip(), 0);
            port_of(wanted).or_else(|_| port_of(any)).unwrap_or(wanted)
        })
    }

    /// One line for each address that is another than the config says.
    pub(super) fn moved(&self) -> Vec<String> {
        let moves = self.0.lock();
        let moved = moves.iter().filter(|(wanted, taken)| wanted != taken);
        moved
            .map(|(wanted, instead)| format!("{wanted} is taken; the demo uses {instead} instead"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_replaced_by_the_same_one_each_time() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let holder = TcpListener::bind(taken).unwrap();
        let ports = Ports::default();
        let instead = ports.free(taken);
        assert_ne!(instead, taken);
        assert_eq!(ports.free(taken), instead);
        assert_eq!(ports.moved().len(), 1);
        drop(holder);
    }
}
