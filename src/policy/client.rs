//! Whose request it is: the client's address, behind the proxies that the operator trusts.
//!
//! `gateway` asks once for each request; all policies and headers go by the answer. What a client writes into
//! `X-Forwarded-For` by itself is never believed.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};

use super::networks::Networks;
use crate::config::Network;

/// The proxies in front of tollgate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Networks);

/// An address, and how it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    pub address: IpAddr,
    pub source: ClientSource,
}

/// Why an address is taken for the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientSource {
    /// No header counts, since the peer is nobody we know.
    #[error("the peer, which is no trusted proxy")]
    Peer,
    /// All that are named are trusted, so it is the first of them; the peer itself, if none is named.
    #[error("the first of a chain in which all are trusted proxies")]
    AllTrusted,
    /// So many entries from the right, it is the first that is not a trusted proxy.
    #[error("entry {0} from the right of X-Forwarded-For, the first that is no trusted proxy")]
    Forwarded(usize),
    /// So many entries from the right there is no address: a trusted proxy does not say who called it.
    #[error("whoever sent entry {0} from the right of X-Forwarded-For, which is no address")]
    Malformed(usize),
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

// === impl TrustedProxies ===

impl TrustedProxies {
    pub fn new(networks: &[Network]) -> Self {
        Self(Networks::new(networks))
    }

    /// Whether what this peer says of its own client is believed.
    pub fn contains(&self, peer: IpAddr) -> bool {
        self.0.contains(peer)
    }

    /// Walks `X-Forwarded-For` from the right, where the nearest proxy has written, to the first address that is not
    /// trusted. What stands left of it may be anybody's invention.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        let mut address = peer.to_canonical();
        if !self.contains(address) {
            return Client { address, source: ClientSource::Peer };
        }
        let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
        let entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        for (entry, position) in entries.zip(1..) {
            let Some(named) = parse(entry) else {
                return Client { address, source: ClientSource::Malformed(position) };
            };
            address = named;
            if !self.contains(address) {
                return Client { address, source: ClientSource::Forwarded(position) };
            }
        }
        Client { address, source: ClientSource::AllTrusted }
    }
}

/// An address, with a port or without; IPv6 in brackets or not.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let address = text.parse().ok().or_else(bare).or_else(with_port)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::{
        ClientSource::{AllTrusted, Forwarded, Malformed, Peer},
        *,
    };

    fn check(peer: &str, lines: &[&'static [u8]], address: &str, source: ClientSource) {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|text| text.parse().unwrap());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(line).unwrap());
        }
        let client = TrustedProxies::new(&trusted).client(peer.parse().unwrap(), &headers);
        let expected = Client { address: address.parse().unwrap(), source };
        assert_eq!(client, expected, "{peer} {lines:?}");
    }

    #[test]
    fn only_a_trusted_peer_is_believed() {
        check("192.0.2.1", &[b"1.1.1.1"], "192.0.2.1", Peer);
        check("::ffff:192.0.2.1", &[], "192.0.2.1", Peer);
        check("10.0.0.1", &[b"1.1.1.1"], "1.1.1.1", Forwarded(1));
        check("::ffff:10.0.0.1", &[b"1.1.1.1"], "1.1.1.1", Forwarded(1));
        check("2001:db8::1", &[b"1.1.1.1"], "1.1.1.1", Forwarded(1));
        check("10.0.0.1", &[], "10.0.0.1", AllTrusted);
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_is_not_trusted() {
        check("10.0.0.1", &[b"6.6.6.6, 1.1.1.1"], "1.1.1.1", Forwarded(1));
        check("10.0.0.1", &[b"6.6.6.6, 1.1.1.1,10.0.0.2 ,\t10.0.0.3"], "1.1.1.1", Forwarded(3));
        check("10.0.0.1", &[b"10.6.6.6, 1.1.1.1, 10.0.0.2"], "1.1.1.1", Forwarded(2));
        check("10.0.0.1", &[b"10.0.0.3, 10.0.0.2"], "10.0.0.3", AllTrusted);
    }

    #[test]
    fn several_headers_are_one_list_in_their_order() {
        check(
            "10.0.0.1",
            &[b"6.6.6.6", b"1.1.1.1, 10.0.0.3", b"10.0.0.2"],
            "1.1.1.1",
            Forwarded(3),
        );
    }

    #[test]
    fn what_is_no_address_ends_the_walk() {
        for nonsense in [
            b"unknown" as &[u8],
            b"",
            b" ",
            b"1.1.1.1.1",
            b"1.1.1.1:99999",
            b"1.1.1.1 2.2.2.2",
            b"[1.1.1.1]",
            b"[::1",
            b"::1]:80",
            b"fe80::1%eth0",
            b"\xff\xfe",
            b"\"1.1.1.1\"",
        ] {
            let line: &'static [u8] = [b"1.1.1.1, ", nonsense, b", 10.0.0.2"].concat().leak();
            check("10.0.0.1", &[line], "10.0.0.2", Malformed(2));
            check("10.0.0.1", &[b"1.1.1.1", nonsense], "10.0.0.1", Malformed(1));
        }
    }

    #[test]
    fn addresses_may_have_brackets_and_ports() {
        for (entry, address) in [
            (b"1.1.1.1:8080" as &[u8], "1.1.1.1"),
            (b"::1", "::1"),
            (b"[::1]", "::1"),
            (b"[::1]:8080", "::1"),
            (b"::ffff:1.1.1.1", "1.1.1.1"),
            (b"[::ffff:1.1.1.1]:1", "1.1.1.1"),
        ] {
            check("10.0.0.1", &[entry], address, Forwarded(1));
        }
    }
}
