//! Builds the `HttpPeer` of each instance, once, from the configuration of its upstream.
//!
//! Called when a configuration is built and for each view; a try then only clones what is ready. Every wait is bounded,
//! and certificates are always verified.

use std::{
    fs::File,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use pingora::{
    protocols::{TcpKeepalive, tls::CaType},
    upstreams::peer::{ALPN, HttpPeer, PeerOptions},
    utils::tls::WrappedX509,
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::{self, Protocol, UpstreamTls};

/// Why an upstream cannot be called as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    #[error("certificate {number} of `{}` cannot be used: {reason}", path.display())]
    Certificate { path: PathBuf, number: usize, reason: String },
    #[error("`{}` has no certificate in PEM form", .0.display())]
    NoCertificate(PathBuf),
    #[error("`{}` is not PEM: {reason}", path.display())]
    NotPem { path: PathBuf, reason: String },
    #[error("`{0}` is not a name that a certificate can carry")]
    Sni(String),
    #[error("`{}` is larger than {LARGEST_CA} bytes", .0.display())]
    TooLarge(PathBuf),
    #[error("cannot read `{}`: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
}

/// What the peers of one upstream have in common.
#[derive(Debug)]
pub(super) struct Peers {
    options: PeerOptions,
    sni: Option<String>,
    group_key: u64,
}

/// Authorities that are trusted in the place of the system's.
struct Authorities {
    certificates: Arc<CaType>,
    hash: u64,
}

/// No bundle of authorities is near this.
const LARGEST_CA: u64 = 4 << 20;
/// How many calls share one HTTP/2 connection: what servers commonly allow at least (RFC 9113, 6.5.2).
const H2_STREAMS: usize = 100;
/// gRPC servers close a connection that pings more often than every five minutes.
const H2_PING: Duration = Duration::from_secs(330);
/// Finds a dead host within a minute, so that a pooled connection to it does not cost a request its time-out.
const KEEPALIVE: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(30),
    interval: Duration::from_secs(10),
    count: 3,
    #[cfg(target_os = "linux")]
    user_timeout: Duration::ZERO,
};

// === impl Peers ===

impl Peers {
    /// Reads the configuration, and the file of authorities it may name.
    pub(super) fn load(upstream: &config::Upstream) -> Result<Self, PeerError> {
        let mut options = options(upstream);
        let mut hasher = DefaultHasher::new();
        upstream.protocol.hash(&mut hasher);
        if let Some(tls) = &upstream.tls {
            check_sni(tls)?;
            if let Some(path) = &tls.ca {
                let authorities = Authorities::load(path)?;
                authorities.hash.hash(&mut hasher);
                options.ca = Some(authorities.certificates);
            }
        }
        let sni = upstream.tls.as_ref().map(|tls| tls.sni.clone());
        // The pool knows neither authorities nor protocol: without this, a connection that was verified against one set
        // would serve who trusts another.
        Ok(Self { options, sni, group_key: hasher.finish() })
    }

    pub(super) fn peer(&self, address: SocketAddr) -> HttpPeer {
        let sni = self.sni.clone().unwrap_or_default();
        let mut peer = HttpPeer::new(address, self.sni.is_some(), sni);
        peer.options = self.options.clone();
        peer.group_key = self.group_key;
        peer
    }
}

fn options(upstream: &config::Upstream) -> PeerOptions {
    let mut options = PeerOptions::new();
    let timeouts = &upstream.timeouts;
    options.connection_timeout = Some(timeouts.connect.0);
    options.total_connection_timeout = Some(timeouts.connect.0);
    options.read_timeout = Some(timeouts.read.0);
    options.write_timeout = Some(timeouts.write.0);
    options.idle_timeout = Some(timeouts.idle.0);
    options.tcp_keepalive = Some(KEEPALIVE);
    options.verify_cert = true;
    options.verify_hostname = true;
    match upstream.protocol {
        Protocol::Http1 => options.set_http_version(1, 1),
        Protocol::Http2 => {
            options.set_http_version(2, 2);
            options.max_h2_streams = H2_STREAMS;
            options.h2_ping_interval = Some(H2_PING);
        }
    }
    options
}

/// pingora verifies nothing when the name is empty, so that a name has to be a name.
fn check_sni(tls: &UpstreamTls) -> Result<(), PeerError> {
    match ServerName::try_from(tls.sni.as_str()) {
        Ok(_) => Ok(()),
        Err(_) => Err(PeerError::Sni(tls.sni.clone())),
    }
}

/// A peer for one try, whose connect and whose wait for a response end with the time that the request has left.
///
/// pingora keeps one wait for all reads of a response, so that those of its body are cut to the same time.
pub(super) fn for_try(peer: &HttpPeer, left: Duration) -> Box<HttpPeer> {
    let mut peer = Box::new(peer.clone());
    let connect = peer.options.total_connection_timeout.map_or(left, |connect| connect.min(left));
    peer.options.connection_timeout = Some(connect);
    peer.options.total_connection_timeout = Some(connect);
    peer.options.read_timeout = peer.options.read_timeout.map(|read| read.min(left));
    peer
}

/// A peer for a request to upgrade: HTTP/1.1, and silent for as long as its two ends like.
pub(super) fn for_upgrade(peer: &HttpPeer, left: Duration) -> Box<HttpPeer> {
    let mut peer = for_try(peer, left);
    peer.options.alpn = ALPN::H1;
    peer.options.read_timeout = None;
    peer
}

// === impl Authorities ===

impl Authorities {
    fn load(path: &Path) -> Result<Self, PeerError> {
        let pem = read(path)?;
        let mut certificates = Vec::new();
        let mut hasher = DefaultHasher::new();
        for (number, der) in (1..).zip(CertificateDer::pem_slice_iter(&pem)) {
            let der = der.map_err(|error| PeerError::NotPem {
                path: path.into(),
                reason: error.to_string(),
            })?;
            der.as_ref().hash(&mut hasher);
            certificates.push(certificate(&der).map_err(|reason| PeerError::Certificate {
                path: path.into(),
                number,
                reason,
            })?);
        }
        if certificates.is_empty() {
            return Err(PeerError::NoCertificate(path.into()));
        }
        Ok(Self { certificates: certificates.into(), hash: hasher.finish() })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, PeerError> {
    let unreadable = |source| PeerError::Unreadable { path: path.into(), source };
    let mut pem = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(LARGEST_CA + 1).read_to_end(&mut pem).map_err(unreadable)?;
    if pem.len() as u64 > LARGEST_CA {
        return Err(PeerError::TooLarge(path.into()));
    }
    Ok(pem)
}

/// A certificate as pingora holds it, once both of its readers take it: one of them panics, the other fails each connect.
fn certificate(der: &CertificateDer<'static>) -> Result<WrappedX509, String> {
    RootCertStore::empty().add(der.clone()).map_err(|error| error.to_string())?;
    WrappedX509::try_new(der.to_vec(), |der| {
        X509Certificate::from_der(der).map(|(_, parsed)| parsed)
    })
    .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use pingora::upstreams::peer::Peer;
    use tempfile::NamedTempFile;

    use super::*;
    use crate::config::units::Interval;

    fn address() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 9000))
    }

    fn file(content: &str) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file
    }

    fn authority() -> String {
        rcgen::generate_simple_self_signed(["ca.test".into()]).unwrap().cert.pem()
    }

    fn with_ca(path: &Path) -> config::Upstream {
        let tls = UpstreamTls { sni: "api.test".into(), ca: Some(path.into()) };
        config::Upstream { tls: Some(tls), ..Default::default() }
    }

    fn load(content: &str) -> Result<Peers, PeerError> {
        Peers::load(&with_ca(file(content).path()))
    }

    #[test]
    fn every_wait_is_bounded() {
        let peer = Peers::load(&config::Upstream::default()).unwrap().peer(address());
        let waits = [
            peer.options.connection_timeout,
            peer.options.total_connection_timeout,
            peer.options.read_timeout,
            peer.options.write_timeout,
            peer.options.idle_timeout,
        ];
        assert_eq!(waits, [3, 3, 30, 30, 30].map(|secs| Some(Duration::from_secs(secs))));
        assert!(!peer.tls() && peer.options.tcp_keepalive.is_some());
        assert_eq!(peer.options.alpn, ALPN::H1);
    }

    #[test]
    fn http2_is_asked_for_and_shared() {
        let config = config::Upstream { protocol: Protocol::Http2, ..Default::default() };
        let peer = Peers::load(&config).unwrap().peer(address());
        assert_eq!((peer.options.alpn.clone(), peer.options.max_h2_streams), (ALPN::H2, 100));
        let upgrade = for_upgrade(&peer, Duration::from_secs(1));
        assert_eq!((upgrade.options.alpn.clone(), upgrade.options.read_timeout), (ALPN::H1, None));
    }

    #[test]
    fn a_try_waits_no_longer_than_the_request_has_left() {
        let peer = Peers::load(&config::Upstream::default()).unwrap().peer(address());
        for (left, connect) in [(1, 1), (3, 3), (50, 3)] {
            let peer_for_try = for_try(&peer, Duration::from_secs(left));
            let read = Some(Duration::from_secs(left.min(30)));
            assert_eq!(peer_for_try.options.read_timeout, read);
            let connect = Some(Duration::from_secs(connect));
            assert_eq!(peer_for_try.options.connection_timeout, connect);
            assert_eq!(peer_for_try.options.total_connection_timeout, connect);
            assert_eq!(peer_for_try.reuse_hash(), peer.reuse_hash());
        }
    }

    #[test]
    fn connections_are_shared_by_those_who_trust_the_same_only() {
        let (one, other) = (file(&authority()), file(&authority()));
        let hash =
            |config: &config::Upstream| Peers::load(config).unwrap().peer(address()).reuse_hash();
        let mut slower = with_ca(one.path());
        slower.timeouts.read = Interval::secs(99);
        let mut system = with_ca(one.path());
        system.tls.as_mut().unwrap().ca = None;
        assert_eq!(hash(&with_ca(one.path())), hash(&slower));
        assert_ne!(hash(&with_ca(one.path())), hash(&with_ca(other.path())));
        assert_ne!(hash(&with_ca(one.path())), hash(&system));
    }

    #[test]
    fn authorities_are_read_and_verified_against() {
        let peer = load(&(authority() + &authority())).unwrap().peer(address());
        assert_eq!(peer.options.ca.as_ref().map(|ca| ca.len()), Some(2));
        assert!(peer.tls() && peer.verify_cert() && peer.verify_hostname());
        assert_eq!(peer.sni, "api.test");
    }

    #[test]
    fn what_cannot_be_trusted_is_an_error() {
        let missing = Peers::load(&with_ca(Path::new("/nonexistent/ca.pem")));
        assert!(matches!(missing, Err(PeerError::Unreadable { .. })));
        let directory = Peers::load(&with_ca(Path::new("/")));
        assert!(matches!(directory, Err(PeerError::Unreadable { .. })));
        for empty in ["", "not a certificate", "\u{0}\u{0}"] {
            assert!(matches!(load(empty), Err(PeerError::NoCertificate(_))), "{empty}");
        }
        let cut = authority().replace("-----END CERTIFICATE-----", "");
        assert!(matches!(load(&cut), Err(PeerError::NotPem { .. })));
        let fake = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let broken = load(&(authority() + fake));
        assert!(matches!(broken, Err(PeerError::Certificate { number: 2, .. })));
        let large = "x".repeat(LARGEST_CA as usize + 1);
        assert!(matches!(load(&large), Err(PeerError::TooLarge(_))));
        for sni in ["", "a b", "-", "x..y"] {
            let mut config = with_ca(Path::new("/"));
            config.tls.as_mut().unwrap().sni = sni.into();
            assert!(matches!(Peers::load(&config), Err(PeerError::Sni(_))), "{sni}");
        }
    }
}
