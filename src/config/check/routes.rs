//! Rules for `[[route]]` itself: its name, what it matches, and what it does.

use std::collections::BTreeMap;

use super::{Check, Diagnostic, Place, text};
use crate::config::{Answer, PathPattern, Redirect, Rewrite, Route, Segment};

impl Check<'_, '_> {
    pub(super) fn routes(&mut self) {
        self.route_names();
        let draft = self.draft;
        for (at, route) in draft.routes.iter().enumerate() {
            let place = self.section("route").item(at);
            self.action(&place);
            let Some(route) = route else { continue };
            self.matchers(route, &place);
            self.targets(route, &place);
            if let Some(redirect) = &route.redirect {
                self.redirect(redirect, &place.key("redirect"));
            }
            if let Some(answer) = &route.answer {
                self.answer(answer, &place.key("answer"));
            }
            self.rewrite(&route.rewrite, &route.path, &place);
            self.edits(&route.request_headers, &place.key("request_headers"));
            self.edits(&route.response_headers, &place.key("response_headers"));
            self.policies(route, &place);
        }
    }

    fn route_names(&mut self) {
        let mut seen = BTreeMap::new();
        let draft = self.draft;
        for (at, route) in draft.routes.iter().enumerate() {
            let Some(route) = route else { continue };
            let place = self.section("route").item(at).key("name");
            if let Err(why) = text::name(&route.name) {
                self.error("bad-name", place.span(), format!("the name of the route {why}"));
            }
            match seen.entry(route.name.as_str()) {
                std::collections::btree_map::Entry::Vacant(free) => {
                    free.insert(place.span());
                }
                std::collections::btree_map::Entry::Occupied(first) => {
                    let message = format!("another route has the name `{}`", place.quote());
                    let item = Diagnostic::error("duplicate-name", place.span(), message);
                    self.pass.findings.push(item.related(first.get().clone(), "first here"));
                }
            }
        }
    }

    /// A route does one thing; judged by what is written, so that a broken `to` is not called missing.
    fn action(&mut self, place: &Place<'_>) {
        let actions = ["to", "redirect", "answer"].map(|key| place.key(key));
        let mut written = actions.iter().filter(|action| action.exists());
        let Some(first) = written.next() else {
            let keys = place.entries().map(|(key, _)| key);
            let known =
                self.pass.shapes.resolve(self.pass.shapes.section("route")).get("properties");
            if self.pass.misspelt("route", keys, known, &["to", "redirect", "answer"]) {
                return;
            }
            let message = "this route does nothing with a request";
            let item = Diagnostic::error("missing-key", place.span(), message)
                .help("write `to = \"UPSTREAM\"`, `redirect = { ... }` or `answer = { ... }`");
            self.pass.findings.push(item);
            return;
        };
        for second in written {
            let message = "a route has one of `to`, `redirect` and `answer`";
            let item = Diagnostic::error("conflicting-keys", second.key_span(), message)
                .related(first.key_span(), "already decided here");
            self.pass.findings.push(item);
        }
        if actions.first().is_some_and(Place::exists) {
            return;
        }
        for key in ["circuit_breaker", "rewrite", "request_headers"] {
            let key_place = place.key(key);
            if key_place.exists() {
                let message = format!("`{key}` does nothing on a route that forwards nowhere");
                self.error("useless-key", key_place.key_span(), message);
            }
        }
    }

    fn matchers(&mut self, route: &Route, place: &Place<'_>) {
        let methods = place.key("methods");
        for method in route.methods.iter() {
            self.method(method, method.span().unwrap_or_else(|| methods.span()));
        }
        let headers = place.key("headers");
        let mut seen = std::collections::BTreeSet::new();
        for name in route.headers.keys() {
            let at = headers.key(name).key_span();
            if !text::is_token(name) {
                self.error("bad-header", at, "this is no name of a header");
            } else if !seen.insert(name.to_ascii_lowercase()) {
                let message = format!("the header `{name}` stands here twice: case does not count");
                self.error("duplicate-header", at, message);
            }
        }
        for (key, names) in [("query", &route.query), ("cookies", &route.cookies)] {
            if let Some((name, _)) = names.get_key_value("") {
                let at = place.key(key).key(name).key_span();
                self.error("bad-name", at, format!("a name in `{key}` is empty"));
            }
        }
    }

    pub(super) fn method(&mut self, method: &str, span: std::ops::Range<usize>) {
        if !text::is_token(method) {
            self.error("bad-method", span, "this is no method");
            return;
        }
        let upper = method.to_ascii_uppercase();
        if method != upper && closest_standard(&upper) {
            let item =
                Diagnostic::error("bad-method", span.clone(), "methods are written in upper case");
            let help = format!("did you mean \"{upper}\"?");
            self.pass.findings.push(item.help(help).replace(span, format!("\"{upper}\"")));
        }
    }

    fn targets(&mut self, route: &Route, place: &Place<'_>) {
        let Some(targets) = &route.to else { return };
        let to = place.key("to");
        for target in &targets.0 {
            let name = target.upstream.as_str();
            // A table has the name as its key; a string is the name.
            let place = to.key(name);
            let (span, quoted) = match place.exists() {
                true => (place.key_span(), name),
                false => (to.span(), to.quote()),
            };
            if let Err(why) = text::name(name) {
                self.error("bad-name", span, format!("the name of the upstream {why}"));
            } else if self.declares("upstream", name) {
                self.used.insert("upstream", name);
            } else {
                self.the_only_registry(quoted, span, false);
            }
        }
    }

    fn redirect(&mut self, redirect: &Redirect, place: &Place<'_>) {
        let parts = ["scheme", "host", "path"];
        if !parts.iter().any(|key| place.key(key).exists()) {
            let message = "this redirect leads back to itself: it needs `scheme`, `host` or `path`";
            self.error("missing-key", place.span(), message);
        }
        if redirect.scheme.as_deref().is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
            let message = "`scheme` has to be \"http\" or \"https\"";
            self.error("bad-value", place.key("scheme").span(), message);
        }
        if redirect.host.as_deref().is_some_and(|host| !text::is_authority(host)) {
            let message = "`host` has to be a host, with a port where it needs one";
            self.error("bad-host", place.key("host").span(), message);
        }
        if redirect.path.as_deref().is_some_and(|path| !text::is_path(path)) {
            self.error("bad-path", place.key("path").span(), PATH);
        }
        if !matches!(redirect.status, 301 | 302 | 303 | 307 | 308) {
            let message = "the status of a redirect is 301, 302, 303, 307 or 308";
            self.error("bad-status", place.key("status").span(), message);
        }
    }

    fn answer(&mut self, answer: &Answer, place: &Place<'_>) {
        if !(200..=599).contains(&answer.status) {
            let message = "the status of an answer is from 200 to 599";
            self.error("bad-status", place.key("status").span(), message);
        }
        if matches!(answer.status, 204 | 205 | 304) && !answer.body.is_empty() {
            let message = format!("an answer with status {} has no body", answer.status);
            self.error("conflicting-keys", place.key("body").span(), message);
        }
        self.header_map(&answer.headers, &place.key("headers"));
    }

    fn rewrite(&mut self, rewrite: &Rewrite, path: &PathPattern, route: &Place<'_>) {
        let place = route.key("rewrite");
        if let Some(prefix) = &rewrite.prefix {
            let prefix_place = place.key("prefix");
            if !text::is_path(prefix) {
                self.error("bad-path", prefix_place.span(), PATH);
            }
            if !matches!(path, PathPattern::Prefix(_)) {
                let message = "`rewrite.prefix` needs a path that ends with `/**`";
                let item =
                    Diagnostic::error("rewrite-without-prefix", prefix_place.key_span(), message)
                        .related(route.key("path").span(), "this path has no prefix");
                self.pass.findings.push(item);
            }
            if place.key("path").exists() {
                let message = "`rewrite` replaces the prefix or the whole path, not both";
                self.error("conflicting-keys", place.key("path").key_span(), message);
            }
        }
        if let Some(template) = &rewrite.path {
            self.template(template, path, &place.key("path"));
        }
        if rewrite.host.as_deref().is_some_and(|host| !text::is_authority(host)) {
            let message = "`host` has to be a host, with a port where it needs one";
            self.error("bad-host", place.key("host").span(), message);
        }
    }

    /// Every `{name}` of a rewrite has to be one of the path.
    fn template(&mut self, template: &str, path: &PathPattern, place: &Place<'_>) {
        if !text::is_path(template) {
            self.error("bad-path", place.span(), PATH);
        }
        let mut rest = template;
        while let Some(at) = rest.find(['{', '}']) {
            let inside = rest.get(at..).and_then(|rest| rest.strip_prefix('{'));
            let Some((name, after)) = inside.and_then(|inside| inside.split_once('}')) else {
                self.error("bad-path", place.span(), "the braces in this path do not pair up");
                return;
            };
            if !parameters(path).any(|parameter| parameter == name) {
                let message = "this path names a parameter that the route's `path` does not have";
                let known: Vec<_> = parameters(path).map(|name| format!("{{{name}}}")).collect();
                let item = Diagnostic::error("unknown-parameter", place.span(), message);
                self.pass.findings.push(match known.is_empty() {
                    true => item.help("write it in the route's `path`, such as \"/orders/{id}\""),
                    false => item.help(format!("the parameters are: {}", known.join(", "))),
                });
            }
            rest = after;
        }
    }
}

const PATH: &str = "this path has to start with `/` and have no blanks";

fn parameters(path: &PathPattern) -> impl Iterator<Item = &str> {
    let segments = match path {
        PathPattern::Prefix(segments) | PathPattern::Template(segments) => segments.as_slice(),
        PathPattern::Exact(_) | PathPattern::Regex(_) => &[],
    };
    segments.iter().filter_map(|segment| match segment {
        Segment::Literal(_) => None,
        Segment::Parameter(name) => Some(name.as_str()),
    })
}

/// Methods of RFC 9110 and RFC 5789; others may be in any case.
fn closest_standard(upper: &str) -> bool {
    matches!(
        upper,
        "CONNECT" | "DELETE" | "GET" | "HEAD" | "OPTIONS" | "PATCH" | "POST" | "PUT" | "TRACE"
    )
}
