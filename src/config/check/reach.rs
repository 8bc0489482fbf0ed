//! Finds routes that never see a request, because an earlier one matches just the same.

use std::collections::HashMap;

use super::{Check, Diagnostic};
use crate::config::{HostPattern, PathPattern, Route, Segment, ValueMatch};

impl Check<'_, '_> {
    pub(super) fn reach(&mut self) {
        let mut seen: HashMap<String, usize> = HashMap::new();
        let draft = self.draft;
        for (at, route) in draft.routes.iter().enumerate() {
            let Some(route) = route else { continue };
            let first = *seen.entry(fingerprint(route)).or_insert(at);
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
fn fingerprint(route: &Route) -> String {
    let mut hosts: Vec<_> = route.host.iter().map(|host| host_text(host)).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let mut methods: Vec<_> = route.methods.iter().map(|method| method.as_str()).collect();
    methods.sort_unstable();
    methods.dedup();
    let values = |map: &std::collections::BTreeMap<String, ValueMatch>, lower: bool| {
        let mut all: Vec<_> = map
            .iter()
            .map(|(name, value)| {
                let name = if lower { name.to_ascii_lowercase() } else { name.clone() };
                (name, format!("{value:?}"))
            })
            .collect();
        all.sort_unstable();
        all
    };
    format!(
        "{hosts:?} {} {methods:?} {:?} {:?} {:?}",
        path_text(&route.path),
        values(&route.headers, true),
        values(&route.query, false),
        values(&route.cookies, false),
    )
}

fn host_text(host: &HostPattern) -> String {
    match host {
        HostPattern::Exact(name) => name.clone(),
        HostPattern::Wildcard(name) => format!("*.{name}"),
    }
}

/// The path, with parameters nameless: `/a/{x}` and `/a/{y}` match the same.
fn path_text(path: &PathPattern) -> String {
    let join = |segments: &[Segment]| {
        let each = segments.iter().map(|segment| match segment {
            Segment::Literal(text) => format!("{text:?}"),
            Segment::Parameter(_) => "{}".into(),
        });
        each.collect::<Vec<_>>().join("/")
    };
    match path {
        PathPattern::Exact(path) => format!("exact {path:?}"),
        PathPattern::Prefix(segments) => format!("prefix {}", join(segments)),
        PathPattern::Regex(regex) => format!("regex {:?}", regex.as_str()),
        PathPattern::Template(segments) => format!("template {}", join(segments)),
    }
}
