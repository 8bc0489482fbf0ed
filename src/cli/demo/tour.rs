//! What to try while the demo runs.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use super::{super::say, identity::Identity};
use crate::server::Server;

/// One thing to try, where the config has its route.
struct Stop {
    route: &'static str,
    about: &'static str,
    try_this: String,
}

/// Prints the stops that the config has routes for.
pub(super) fn print(server: &Server, identity: &Identity, file: &Path) {
    let snapshot = server.reloader().snapshots().load();
    let addresses = server.addresses();
    let Some(address) = addresses.listeners.values().next().copied() else { return };
    let base = format!("http://{}", reachable(address));
    say(format_args!(
        "\ntollgate is listening on {base}, with three instances of `hello` (weights 5, 3, 2). Try, in another terminal:\n"
    ));
    let token =
        identity.token(snapshot.config(), "alice").unwrap_or_else(|error| format!("({error})"));
    for stop in stops(&base, &token) {
        if snapshot.routes().iter().any(|route| &*route.name == stop.route) {
            say(format_args!("  # {}\n  {}\n", stop.about, stop.try_this));
        }
    }
    if let Some(admin) = addresses.admin {
        say(format_args!(
            "  # What runs, and what it counts\n  curl http://{admin}/api/v1/upstreams\n  curl http://{admin}/metrics\n"
        ));
    }
    say(format_args!(
        "Edit {} and save it: the change is there within a second, and a mistake changes nothing.",
        file.display()
    ));
    say("Ctrl-C ends the demo.\n");
}

fn stops(base: &str, token: &str) -> Vec<Stop> {
    let stop = |route, about, try_this| Stop { route, about, try_this };
    let many = |count: u32, path: &str, flags: &str| {
        format!("for i in $(seq {count}); do curl -s{flags} {base}{path}; echo; done")
    };
    vec![
        stop("hello", "Weighted random: ten requests, by instance", many(10, "/hello/", "")),
        stop(
            "me",
            "JWT: without a token, then with one",
            format!("curl -i {base}/me/\n  curl -i -H 'authorization: Bearer {token}' {base}/me/"),
        ),
        stop(
            "limited",
            "Rate limit: three pass, then 429",
            many(5, "/limited/", " -o /dev/null -w '%{http_code}'"),
        ),
        stop(
            "flaky",
            "Circuit breaker: five failures, then 503 without a call",
            many(8, "/flaky/", " -o /dev/null -w '%{http_code}'"),
        ),
    ]
}

/// An address that a client on this machine can use.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => {
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port())
        }
        IpAddr::V4(_) | IpAddr::V6(_) => address,
    }
}
