//! The table finds what trying every route in sorted order finds.

use http::Method;
use proptest::prelude::*;

use super::*;
use crate::config::{self, HostPattern, PathPattern, Segment, ValueMatch};

/// Every route tried in sorted order of precedence: what the table has to agree with.
fn naive(routes: &[config::Route], request: &Request<'_>) -> Found {
    let mut candidates: Vec<_> = routes
        .iter()
        .enumerate()
        .filter_map(|(i, route)| {
            Some((
                naive_host(route, request.host)?,
                naive_path(&route.path, request.path)?,
                i,
                route,
            ))
        })
        .collect();
    candidates.sort_by_key(|(host, path, i, route)| {
        let headers = route.headers.len() + route.cookies.len();
        (
            *host,
            path.clone(),
            route.methods.is_empty(),
            usize::MAX - headers,
            usize::MAX - route.query.len(),
            *i,
        )
    });
    let method = |route: &config::Route| {
        let takes = |name: &str| route.methods.iter().any(|m| m.as_str() == name);
        route.methods.is_empty()
            || takes(request.method.as_str())
            || request.method == Method::HEAD && takes("GET")
    };
    let rest = |route: &config::Route| {
        let is = |expected: &ValueMatch, value: Option<&str>| match (expected, value) {
            (_, None) => false,
            (ValueMatch::Any, _) => true,
            (ValueMatch::Exact(text), Some(value)) => text == value,
            (ValueMatch::Regex(regex), Some(value)) => regex.is_match(value),
        };
        let header = |name: &str| request.headers.get(name).and_then(|v| v.to_str().ok());
        let query = |name: &str| {
            request.query?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
        };
        let cookie = |name: &str| {
            header("cookie")?
                .split("; ")
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
        };
        route.headers.iter().all(|(name, value)| is(value, header(name)))
            && route.query.iter().all(|(name, value)| is(value, query(name)))
            && route.cookies.iter().all(|(name, value)| is(value, cookie(name)))
    };
    let candidates = || candidates.iter().filter(|(_, _, _, route)| rest(route));
    match candidates().find(|(_, _, _, route)| method(route)) {
        Some((_, _, i, _)) => Found::Route(*i),
        None if candidates().next().is_some() => Found::MethodNotAllowed,
        None => Found::NoRoute,
    }
}

/// The rank of the best host that matches: exact before wildcards, longer before shorter, any at last.
fn naive_host(route: &config::Route, host: &str) -> Option<usize> {
    if route.host.is_empty() {
        return Some(usize::MAX);
    }
    let ranks = route.host.iter().filter_map(|pattern| match &**pattern {
        HostPattern::Exact(name) => (name == host).then_some(0),
        HostPattern::Wildcard(name) => {
            host.ends_with(&format!(".{name}")).then(|| 1000 - name.len())
        }
    });
    ranks.min()
}

/// Kind, depth (deep first), and for each segment whether it is a parameter.
fn naive_path(pattern: &PathPattern, path: &str) -> Option<(u8, usize, Vec<bool>)> {
    let texts: Vec<_> = path.split('/').skip(1).collect();
    let fit = |segments: &[Segment]| {
        segments.len() <= texts.len()
            && segments.iter().zip(&texts).all(|(segment, text)| match segment {
                Segment::Literal(literal) => literal == text,
                Segment::Parameter(_) => !text.is_empty(),
            })
    };
    let shape = |segments: &[Segment]| {
        segments.iter().map(|s| matches!(s, Segment::Parameter(_))).collect()
    };
    match pattern {
        PathPattern::Exact(text) => (text == path).then(|| (0, 0, Vec::new())),
        PathPattern::Template(segments) => {
            (segments.len() == texts.len() && fit(segments)).then(|| (1, 0, shape(segments)))
        }
        PathPattern::Prefix(segments) => {
            fit(segments).then(|| (2, 1000 - segments.len(), shape(segments)))
        }
        PathPattern::Regex(regex) => regex.is_match(path).then(|| (3, 0, Vec::new())),
    }
}

fn any_route() -> impl Strategy<Value = String> {
    let host = prop::sample::select(vec![
        "",
        "",
        "host = ['a.c']",
        "host = ['*.c']",
        "host = ['*.a.c']",
        "host = ['a.c', '*.a.c', '*.c']",
        "host = ['b.a.c']",
    ]);
    let path = prop_oneof![
        6 => "path = '(/(a|b|\\{x\\})){1,3}(/\\*\\*|/)?'",
        1 => Just("path = '/**'".to_owned()),
        1 => Just("path = { regex = '/a.*' }".to_owned()),
        1 => Just("path = { regex = '.*/b/?' }".to_owned()),
    ];
    let methods = prop::sample::select(vec![
        "",
        "",
        "methods = ['GET']",
        "methods = ['POST', 'GET']",
        "methods = ['HEAD']",
    ]);
    let values = || {
        prop::sample::select(vec![
            "",
            "",
            "",
            "{ p = '1' }",
            "{ p = '*' }",
            "{ p = '1', q = { regex = '[12]' } }",
        ])
    };
    (host, path, methods, values(), values(), values()).prop_map(
        |(host, path, methods, headers, query, cookies)| {
            let table = |key: &str, value: &str| {
                if value.is_empty() { String::new() } else { format!("{key} = {value}\n") }
            };
            format!(
                "{host}\n{path}\n{methods}\n{}{}{}",
                table("headers", headers),
                table("query", query),
                table("cookies", cookies)
            )
        },
    )
}

fn any_request() -> impl Strategy<Value = String> {
    let host = prop::sample::select(vec!["", "a.c", "b.a.c", "c.b.a.c", "x.c", "c"]);
    let value = || prop::sample::select(vec!["", "p=1", "p=1;q=2", "p=2;q=1", "q=1"]);
    ("GET|HEAD|POST|PUT", host, "/|(/(a|b|c)){1,4}/?", value(), value(), value()).prop_map(
        |(method, host, path, headers, query, cookies)| {
            let query = if query.is_empty() {
                String::new()
            } else {
                format!("?{}", query.replace(';', "&"))
            };
            let headers = headers
                .split(';')
                .filter(|h| !h.is_empty())
                .map(|h| format!("\n{}", h.replace('=', ": ")));
            let cookies = if cookies.is_empty() {
                String::new()
            } else {
                format!("\ncookie: {}", cookies.replace(';', "; "))
            };
            format!("{method} {host}{path}{query}{}{cookies}", headers.collect::<String>())
        },
    )
}

proptest! {
    #[test]
    fn table_finds_what_trying_every_route_finds(
        bodies in prop::collection::vec(any_route(), 1..24),
        requests in prop::collection::vec(any_request(), 1..24),
    ) {
        let routes = routes(&bodies);
        let table = Table::new(&routes).expect("a table");
        for text in requests {
            let asked = Asked::new(&text);
            let request = asked.request();
            let found = naive(&routes, &request);
            prop_assert_eq!(table.find(&request), found, "{}", text);
            let mut told = Vec::new();
            prop_assert_eq!(table.explain(&request, &mut |route, _| told.push(route)), found);
            // Each route is told of once, but for the one that was found.
            told.extend(match found { Found::Route(route) => Some(route), _ => None });
            told.sort_unstable();
            prop_assert_eq!(told, (0..routes.len()).collect::<Vec<_>>());
        }
    }
}
