//! What finding a route costs among 10, 1,000 and 100,000 of them, and what bringing a path into normal form costs.
//!
//! Requests go round over all routes, so that large tables are read from memory as they would be, and not from cache.

#![allow(clippy::unwrap_used, reason = "a bench reports by panicking")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, Method};
use tollgate::{
    config::{HostPattern, OneOrMany, PathPattern, Route, WrittenRoute},
    route::{Found, Request, Table, normalise_host, normalise_path},
};

/// Services with four routes each: exact, template, template with a header, prefix.
const PATHS: [&str; 4] = ["/health", "/items/{id}", "/orders/{id}", "/**"];

/// What is asked of a service, and which of its routes takes it. The one with a header never does.
const ASKED: [(&str, &str, Option<usize>); 5] = [
    ("exact", "/health", Some(0)),
    ("template", "/items/17", Some(1)),
    ("fall_through", "/orders/17", Some(3)),
    ("prefix", "/a/b/c", Some(3)),
    ("miss", "-/a/b/c", None),
];

/// How services are told apart.
#[derive(Clone, Copy)]
enum By {
    Host,
    Path,
}

impl By {
    fn host(self, service: usize) -> String {
        match self {
            Self::Host => format!("service-{service}.example.com"),
            Self::Path => "api.example.com".into(),
        }
    }

    fn path(self, service: usize, below: &str) -> String {
        match self {
            Self::Host => format!("/v1{below}"),
            Self::Path => format!("/service-{service}{below}"),
        }
    }
}

fn routes(count: usize, by: By) -> Vec<Route> {
    let plain: Route = toml::from_str("name = 'r'\nto = 'u'").unwrap();
    let canary: Route =
        toml::from_str("name = 'r'\nto = 'u'\nheaders = { x-canary = '1' }").unwrap();
    let route = |i: usize| {
        let (service, kind) = (i / PATHS.len(), i % PATHS.len());
        let route = if kind == 2 { &canary } else { &plain };
        let host: HostPattern = by.host(service).parse().unwrap();
        let path: PathPattern = by.path(service, PATHS.get(kind).unwrap()).parse().unwrap();
        let host = OneOrMany(vec![host.into()]);
        WrittenRoute { host, path: path.into(), ..(**route).clone() }.into()
    };
    (0..count).map(route).collect()
}

/// Host and path of requests to services here and there in the table.
fn targets(count: usize, by: By, below: &str) -> Vec<(usize, String, String)> {
    let mut services: Vec<_> = (0..count / PATHS.len()).collect();
    fastrand::Rng::with_seed(1).shuffle(&mut services);
    services.truncate(4096);
    services.into_iter().map(|s| (s, by.host(s), by.path(s, below))).collect()
}

fn find(c: &mut Criterion) {
    let headers = HeaderMap::new();
    for (name, by) in [("one_host", By::Path), ("a_host_each", By::Host)] {
        for count in [10, 1_000, 100_000] {
            let table = Table::new(&routes(count, by)).unwrap();
            for (what, below, expected) in ASKED {
                let targets = targets(count, by, below);
                let find = |(_, host, path): &(usize, String, String)| {
                    let (method, query) = (&Method::GET, None);
                    table.find(&Request { method, host, path, query, headers: &headers })
                };
                for target in &targets {
                    let route = expected.map(|kind| Found::Route(target.0 * PATHS.len() + kind));
                    assert_eq!(find(target), route.unwrap_or(Found::NoRoute));
                }
                let mut next = targets.iter().cycle();
                let id = format!("route/{name}/{what}/{count}");
                c.bench_function(&id, |b| b.iter(|| find(next.next().unwrap())));
            }
        }
    }
}

fn normalise(c: &mut Criterion) {
    for (what, path) in [
        ("normal", "/api/v1/orders/0197f3a2/items.json"),
        ("escapes", "/api/v1/caf%C3%A9/a%20b/items.json"),
        ("changed", "/api//v1/./caf%c3%a9/../%61/items.json"),
    ] {
        c.bench_function(&format!("path/{what}"), |b| b.iter(|| normalise_path(black_box(path))));
    }
    for (what, host) in [("normal", "api.example.com:8080"), ("changed", "API.example.com")] {
        c.bench_function(&format!("host/{what}"), |b| b.iter(|| normalise_host(black_box(host))));
    }
}

criterion_group!(benches, find, normalise);
criterion_main!(benches);
