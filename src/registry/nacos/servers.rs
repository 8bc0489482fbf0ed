//! The servers of one Nacos cluster, and which of them is next.
//!
//! Used for every connection. Never leads to an address that the operator did not write: what a server recommends is
//! followed only when it stands in the list.

use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::config::NacosRegistry;

/// What Nacos adds to its HTTP port for gRPC.
const GRPC_OFFSET: u16 = 1000;

/// One server, by both of its ports.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Server {
    /// A name or an address; IPv6 without brackets.
    pub(super) host: String,
    pub(super) http_port: u16,
    pub(super) grpc_port: u16,
}

/// The list and a place in it. Never empty.
pub(super) struct Servers {
    list: Vec<Server>,
    place: AtomicUsize,
}

/// An address in the config that cannot be one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AddressError {
    #[error("there is no address")]
    None,
    #[error("{0:?} is not HOST:PORT")]
    Invalid(String),
    /// The default is the HTTP port plus 1000.
    #[error("{0:?} leaves no room for the gRPC port; write grpc_port")]
    NoGrpcPort(String),
}

// === impl Server ===

impl Server {
    fn parse(text: &str, grpc_port: Option<u16>) -> Result<Self, AddressError> {
        let invalid = || AddressError::Invalid(text.into());
        let authority: http::uri::Authority = text.parse().map_err(|_| invalid())?;
        let http_port = authority.port_u16().filter(|port| *port != 0).ok_or_else(invalid)?;
        let host = authority.host().trim_matches(['[', ']']);
        if host.is_empty() || text.contains('@') {
            return Err(invalid());
        }
        let grpc_port = grpc_port
            .or_else(|| http_port.checked_add(GRPC_OFFSET))
            .ok_or_else(|| AddressError::NoGrpcPort(text.into()))?;
        Ok(Self { host: host.into(), http_port, grpc_port })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{open}{}{close}:{}", self.host, self.http_port)
    }
}

// === impl Servers ===

impl Servers {
    /// The list, beginning at a place that `chance` chooses: many gateways shall not all use the first server.
    pub(super) fn new(config: &NacosRegistry, chance: u64) -> Result<Self, AddressError> {
        let grpc_port = config.grpc_port.map(std::num::NonZeroU16::get);
        let list: Vec<_> = config
            .address
            .iter()
            .map(|address| Server::parse(address, grpc_port))
            .collect::<Result<_, _>>()?;
        let place = chance.checked_rem(list.len() as u64).ok_or(AddressError::None)?;
        Ok(Self { place: AtomicUsize::new(usize::try_from(place).unwrap_or(0)), list })
    }

    /// The server whose turn it is.
    pub(super) fn current(&self) -> &Server {
        let place = self.place.load(Ordering::Relaxed) % self.list.len();
        // The remainder is a place of the list, which is never empty.
        #[allow(clippy::indexing_slicing, reason = "bounded by the remainder above")]
        &self.list[place]
    }

    /// Moves on from a server that was lost, unless that was done already.
    pub(super) fn leave(&self, server: &Server) {
        if self.current() == server {
            self.advance();
        }
    }

    /// Moves to the server that another one names by its HTTP side, if it is ours; else to the next.
    pub(super) fn follow(&self, host: &str, http_port: &str) {
        let named = |server: &Server| {
            server.host.eq_ignore_ascii_case(host) && server.http_port.to_string() == http_port
        };
        match self.list.iter().position(named) {
            Some(place) => self.place.store(place, Ordering::Relaxed),
            None => self.advance(),
        }
    }

    fn advance(&self) {
        self.place.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(addresses: &[&str], grpc_port: Option<u16>) -> Result<Servers, AddressError> {
        let list = toml::Value::from(addresses.to_vec());
        let mut config: NacosRegistry = toml::from_str(&format!("address = {list}")).unwrap();
        config.grpc_port = grpc_port.and_then(std::num::NonZeroU16::new);
        Servers::new(&config, 0)
    }

    fn current(servers: &Servers) -> String {
        servers.current().to_string()
    }

    #[test]
    fn an_address_gives_both_ports() {
        let check = |text: &str, grpc: Option<u16>, host: &str, ports: (u16, u16)| {
            let servers = servers(&[text], grpc).unwrap();
            let server = servers.current();
            assert_eq!((server.host.as_str(), (server.http_port, server.grpc_port)), (host, ports));
            assert_eq!(server.to_string(), text);
        };
        check("nacos:8848", None, "nacos", (8848, 9848));
        check("10.0.0.1:8848", Some(1), "10.0.0.1", (8848, 1));
        check("[::1]:8848", None, "::1", (8848, 9848));
    }

    #[test]
    fn an_address_that_cannot_be_one_is_refused() {
        for text in
            ["nacos", ":8848", "nacos:0", "nacos:x", "a b:1", "http://nacos:8848", "u:p@h:1", ""]
        {
            let error = servers(&[text], None).err();
            assert_eq!(error, Some(AddressError::Invalid(text.into())), "{text:?}");
        }
        assert_eq!(servers(&[], None).err(), Some(AddressError::None));
        let error = servers(&["nacos:65000"], None).err();
        assert_eq!(error, Some(AddressError::NoGrpcPort("nacos:65000".into())));
    }

    #[test]
    fn servers_take_turns() {
        let servers = servers(&["a:1", "b:1"], None).unwrap();
        let first = servers.current().clone();
        assert_eq!(first.to_string(), "a:1");
        servers.leave(&first);
        assert_eq!(current(&servers), "b:1");
        servers.leave(&first);
        assert_eq!(current(&servers), "b:1");
        servers.leave(servers.current());
        assert_eq!(current(&servers), "a:1");
    }

    #[test]
    fn a_recommended_server_is_followed_only_if_it_is_ours() {
        let servers = servers(&["a:1", "b:1", "c:1"], None).unwrap();
        servers.follow("C", "1");
        assert_eq!(current(&servers), "c:1");
        servers.follow("evil.example", "1");
        assert_eq!(current(&servers), "a:1");
        servers.follow("b", "2");
        assert_eq!(current(&servers), "b:1");
    }
}
