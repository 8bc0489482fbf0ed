//! The listening sockets, bound by us before anything runs.
//!
//! A taken port so ends the start with an error, and port 0 tells which port it became. pingora would try for half a
//! minute and then panic in a task, and the process would live on without its listener.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use crate::config::{Config, Listener, RegistryKind};

/// Every socket that a config asks for.
pub struct Sockets {
    pub listeners: Vec<BoundListener>,
    pub admin: TcpListener,
    /// By the name of their `[registry.NAME]`.
    pub embedded: BTreeMap<String, TcpListener>,
}

/// A `[listener.NAME]` and its socket.
pub struct BoundListener {
    pub name: Arc<str>,
    pub config: Listener,
    /// Where it really listens: differs from the config where that says port 0.
    pub address: SocketAddr,
    pub socket: TcpListener,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({what}): {error}{}", hint(.error))]
pub struct BindError {
    /// The table that asks for it.
    pub what: String,
    pub address: SocketAddr,
    pub error: io::Error,
}

/// What an operator can do about it.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; stop what listens there, or choose another address",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need CAP_NET_BIND_SERVICE (setcap, or systemd's AmbientCapabilities)"
        }
        _ => "",
    }
}

impl Sockets {
    /// Binds them all, or none.
    pub fn bind(config: &Config) -> Result<Self, BindError> {
        let listen = |(name, listener): (&String, &Listener)| {
            let socket = bind(&format!("[listener.{name}]"), *listener.address)?;
            let address = socket.local_addr().unwrap_or(*listener.address);
            Ok(BoundListener {
                name: name.as_str().into(),
                config: listener.clone(),
                address,
                socket,
            })
        };
        let listeners = config.listener.iter().map(listen).collect::<Result<_, _>>()?;
        let mut embedded = BTreeMap::new();
        for (name, registry) in &config.registry {
            if let RegistryKind::Embedded(registry) = &registry.kind {
                embedded
                    .insert(name.clone(), bind(&format!("[registry.{name}]"), *registry.listen)?);
            }
        }
        Ok(Self { listeners, admin: bind("[admin]", *config.admin.address)?, embedded })
    }
}

fn bind(what: &str, address: SocketAddr) -> Result<TcpListener, BindError> {
    let listen = || {
        let socket = TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    listen().map_err(|error| BindError { what: what.to_owned(), address, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_an_error_that_says_which() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = Config::default();
        config.admin.address = taken.local_addr().unwrap().into();
        let loopback = Listener {
            address: SocketAddr::from(([127, 0, 0, 1], 0)).into(),
            ..Listener::default()
        };
        config.listener.insert("web".into(), loopback);
        let error = Sockets::bind(&config).err().unwrap().to_string();
        assert!(error.contains("[admin]") && error.contains("choose another address"), "{error}");
    }

    #[test]
    fn port_zero_becomes_a_real_one() {
        let mut config = Config::default();
        config.admin.address = SocketAddr::from(([127, 0, 0, 1], 0)).into();
        let loopback = Listener {
            address: SocketAddr::from(([127, 0, 0, 1], 0)).into(),
            ..Listener::default()
        };
        config.listener.insert("web".into(), loopback);
        let sockets = Sockets::bind(&config).unwrap();
        assert_ne!(sockets.listeners[0].address.port(), 0);
    }
}
