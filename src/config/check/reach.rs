//! Finds routes that never see a request, because an earlier one matches just the same.

use std::collections::{BTreeMap, HashMap};

use super::{Check, Diagnostic};
use crate::config::{HostPattern, PathPattern, Route, Segment, ValueMatch};

impl Check<'_, '_> {
    pub(super) fn reach(&mut self) {
        let mut seen: HashMap<Matches<'_>, usize> = HashMap::new();
        let draft = self.draft;
        for (at, route) in draft.routes.iter().enumerate() {
            let Some(route) = route else { continue };
            let first = *seen.entry(Matches::of(route)).or_insert(at);
            if first == at {
                continue;
            }
            let list = self.section("route");
            let (name, other) = (list.item(at).key("name"), list.item(first).key("name"));
            let message = format!(
                "route `{}` is never reached: `{}` matches the same",
                name.quote(),
                other.quote()
            );
            let item = Diagnostic::warning("never-reached", name.span(), message)
                .related(other.span(), "takes all its requests");
            self.pass.findings.push(item);
        }
    }
}

/// What a route matches, so that two that match the same are equal.
#[derive(PartialEq, Eq, Hash)]
struct Matches<'r> {
    hosts: Vec<(&'r str, bool)>,
    path: PathMatch<'r>,
    methods: Vec<&'r str>,
    headers: Vec<(String, Wanted<'r>)>,
    query: Vec<(&'r str, Wanted<'r>)>,
    cookies: Vec<(&'r str, Wanted<'r>)>,
}

/// A path, with parameters nameless: `/a/{x}` and `/a/{y}` match the same.
#[derive(PartialEq, Eq, Hash)]
enum PathMatch<'r> {
    Exact(&'r str),
    Prefix(Vec<Option<&'r str>>),
    Regex(&'r str),
    Template(Vec<Option<&'r str>>),
}

#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Wanted<'r> {
    Any,
    Exact(&'r str),
    Regex(&'r str),
}

// === impl Matches ===

impl<'r> Matches<'r> {
    fn of(route: &'r Route) -> Self {
        let values = |map: &'r BTreeMap<String, ValueMatch>| {
            map.iter().map(|(name, value)| (name.as_str(), Wanted::of(value)))
        };
        let lower = values(&route.headers).map(|(name, value)| (name.to_ascii_lowercase(), value));
        Self {
            hosts: sorted(route.host.iter().map(|host| match &**host {
                HostPattern::Exact(name) => (name.as_str(), false),
                HostPattern::Wildcard(name) => (name.as_str(), true),
            })),
            path: PathMatch::of(&route.path),
            methods: sorted(route.methods.iter().map(|method| method.as_str())),
            headers: sorted(lower),
            query: values(&route.query).collect(),
            cookies: values(&route.cookies).collect(),
        }
    }
}

fn sorted<T: Ord>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut all: Vec<_> = all.collect();
    all.sort_unstable();
    all.dedup();
    all
}

// === impl PathMatch ===

impl<'r> PathMatch<'r> {
    fn of(path: &'r PathPattern) -> Self {
        let nameless = |segments: &'r [Segment]| {
            let each = segments.iter().map(|segment| match segment {
                Segment::Literal(text) => Some(text.as_str()),
                Segment::Parameter(_) => None,
            });
            each.collect()
        };
        match path {
            PathPattern::Exact(path) => Self::Exact(path),
            PathPattern::Prefix(segments) => Self::Prefix(nameless(segments)),
            PathPattern::Regex(regex) => Self::Regex(regex.as_str()),
            PathPattern::Template(segments) => Self::Template(nameless(segments)),
        }
    }
}

// === impl Wanted ===

impl<'r> Wanted<'r> {
    fn of(value: &'r ValueMatch) -> Self {
        match value {
            ValueMatch::Any => Self::Any,
            ValueMatch::Exact(text) => Self::Exact(text),
            ValueMatch::Regex(regex) => Self::Regex(regex.as_str()),
        }
    }
}
