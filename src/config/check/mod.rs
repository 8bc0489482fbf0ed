//! What the types cannot say: that names refer to something, and that keys agree with each other.
//!
//! Called by `load` once the tables are read; every rule runs, so that all that is wrong shows at once. Quotes only
//! what is written in the file.

mod doors;
mod headers;
mod issuers;
mod policies;
mod reach;
mod routes;
mod text;
mod upstreams;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use toml::de::DeTable;

use super::{conform::Conform, diagnostics::Diagnostic, load::Draft, place::Place};

/// One run over a draft.
struct Check<'c, 'p> {
    draft: &'c Draft,
    root: &'c DeTable<'c>,
    pass: &'c mut Conform<'p>,
    used: Used,
}

/// What is referred to, as table and name; the rest is reported as unused.
#[derive(Default)]
struct Used(BTreeMap<&'static str, BTreeSet<String>>);

/// Runs every rule over what could be read.
pub(super) fn check(draft: &Draft, written: &DeTable<'_>, pass: &mut Conform<'_>) {
    let mut check = Check { draft, root: written, pass, used: Used::default() };
    check.names();
    check.doors();
    check.registries();
    check.issuers();
    check.upstreams();
    check.routes();
    check.reach();
    check.unused();
}

impl<'c> Check<'c, '_> {
    fn section(&self, name: &str) -> Place<'c> {
        Place::section(self.root, name)
    }

    fn error(&mut self, code: &'static str, span: Range<usize>, message: impl Into<String>) {
        self.pass.findings.push(Diagnostic::error(code, span, message));
    }

    /// Whether the file has such a table, sound or not.
    fn declares(&self, section: &str, name: &str) -> bool {
        self.section(section).key(name).exists()
    }

    /// The names of a kind of table as the file has them.
    fn declared(&self, section: &str) -> Vec<&'c str> {
        self.section(section).entries().map(|(name, _)| name).collect()
    }

    /// Names become labels of metrics and stand in log lines and paths of the status API.
    fn names(&mut self) {
        for section in ["listener", "registry", "jwt", "upstream"] {
            for (name, place) in self.section(section).entries() {
                if let Err(why) = text::name(name) {
                    self.error("bad-name", place.key_span(), format!("the name {why}"));
                }
            }
        }
    }

    fn unused(&mut self) {
        for (section, by) in [
            ("jwt", "no route asks for it"),
            ("upstream", "no route forwards to it"),
            ("registry", "no route gets instances from it"),
        ] {
            for (name, place) in self.section(section).entries() {
                if !self.used.contains(section, name) {
                    let message = format!("[{section}.{name}] is not used");
                    let item = Diagnostic::warning("unused", place.key_span(), message);
                    self.pass.findings.push(item.label(by));
                }
            }
        }
        if self.draft.routes.is_empty() && !self.section("route").exists() {
            let message = "there are no routes: every request is answered with 404";
            self.pass.findings.push(Diagnostic::warning("no-routes", 0..0, message));
        }
    }
}

impl Used {
    fn insert(&mut self, section: &'static str, name: &str) {
        // Thousands of routes name the same few.
        if !self.contains(section, name) {
            self.0.entry(section).or_default().insert(name.into());
        }
    }

    fn contains(&self, section: &'static str, name: &str) -> bool {
        self.0.get(section).is_some_and(|names| names.contains(name))
    }
}
