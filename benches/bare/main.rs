//! The floor: the least that a proxy on pingora can be, and what our own cost is held against.
//!
//! It forwards every request to one of its upstreams in turn and leaves all else as pingora comes: no routes, no policies, no
//! time-outs, no headers of its own, no metrics, no log. Built with the gateway's own profile and allocator, so that a difference is what we do.
//!
//! `bare LISTEN UPSTREAM[,UPSTREAM...] [CERTIFICATE KEY]`

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use pingora::{
    Error, ErrorType, Result,
    proxy::{ProxyHttp, Session, http_proxy_service},
    server::{RunArgs, Server, configuration::ServerConf},
    upstreams::peer::HttpPeer,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Bare {
    peers: Vec<HttpPeer>,
    next: AtomicUsize,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        let turn = self.next.fetch_add(1, Relaxed) % self.peers.len();
        let peer = self.peers.get(turn).ok_or_else(|| Error::new(ErrorType::InternalError))?;
        Ok(Box::new(peer.clone()))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: bare LISTEN UPSTREAM[,UPSTREAM...] [CERTIFICATE KEY]";
    let listen = arguments.next().ok_or(usage)?;
    let peers = arguments
        .next()
        .ok_or(usage)?
        .split(',')
        .map(|upstream| Ok(HttpPeer::new(upstream.parse::<SocketAddr>()?, false, String::new())))
        .collect::<Result<_, std::net::AddrParseError>>()?;
    let conf =
        ServerConf { threads: 1, upstream_keepalive_pool_size: 1024, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let bare = Bare { peers, next: AtomicUsize::new(0) };
    let mut service = http_proxy_service(&Arc::clone(&server.configuration), bare);
    match (arguments.next(), arguments.next()) {
        (Some(certificate), Some(key)) => service.add_tls(&listen, &certificate, &key)?,
        _ => service.add_tcp(&listen),
    }
    server.add_service(service);
    server.run(RunArgs::default());
    Ok(())
}
