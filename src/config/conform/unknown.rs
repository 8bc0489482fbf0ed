//! Keys that the schema does not have, and what was probably meant.

use std::ops::Range;

use serde_json::Value;
use toml::Spanned;

use super::{Conform, Within, secret};
use crate::config::{diagnostics::Diagnostic, later};

impl Conform<'_> {
    /// Always false: what is unknown never stays.
    pub(in crate::config) fn unknown_key(
        &mut self,
        key: &Spanned<&str>,
        value: Range<usize>,
        known: Option<&Value>,
        within: &Within<'_>,
    ) -> bool {
        let (span, key) = (key.span(), *key.get_ref());
        // What stands under a wrong key may be a secret under a misspelt one.
        self.secrets.extend(secret::may_be_one(key).then_some(value));
        let place = within.describe();
        let own = within.path().is_none() || within.section == "listener";
        let section = if own { within.section } else { "nested" };
        let item = match later::instead_of(section, key) {
            Some(instead) => {
                let message = format!("`{key}` in {place} is not in this version of tollgate");
                Diagnostic::error("not-in-this-version", span, message)
                    .label("not known yet")
                    .help(format!("until then, {instead}"))
            }
            None => {
                let message = format!("unknown key `{key}` in {place}");
                let item = Diagnostic::error("unknown-key", span, message).label("no such key");
                let known = known.and_then(Value::as_object).into_iter().flatten();
                let known: Vec<&str> = known.map(|(key, _)| key.as_str()).collect();
                self.advise(item, (section, key), &known, within)
            }
        };
        self.findings.push(item);
        false
    }

    /// Our key for another gateway's word or for a misspelt one.
    pub(in crate::config) fn meant<'k>(
        &self,
        (section, key): (&str, &str),
        known: &[&'k str],
    ) -> Option<&'k str> {
        let ours = later::our_word(section, key);
        let ours = known.iter().copied().find(|known| Some(*known) == ours);
        ours.or_else(|| self.findings.closest(key, known.iter().copied()))
    }

    /// Whether an unknown key was probably meant to be one of these, so that they are misspelt and not missing.
    pub(in crate::config) fn misspelt<'t>(
        &self,
        section: &str,
        written: impl IntoIterator<Item = &'t str>,
        known: Option<&Value>,
        missing: &[&str],
    ) -> bool {
        let known = known.and_then(Value::as_object).into_iter().flatten();
        let known: Vec<&str> = known.map(|(key, _)| key.as_str()).collect();
        written.into_iter().filter(|key| !known.contains(key)).any(|key| {
            self.meant((section, key), &known).is_some_and(|meant| missing.contains(&meant))
        })
    }

    /// The key that was meant, or the table that has it, or the keys that there are.
    fn advise(
        &self,
        item: Diagnostic,
        (section, key): (&str, &str),
        known: &[&str],
        within: &Within<'_>,
    ) -> Diagnostic {
        if let Some(meant) = self.meant((section, key), known) {
            let span = item.span.clone().unwrap_or_default();
            return item.help(format!("did you mean `{meant}`?")).replace(span, meant);
        }
        // Of a table within a table, or of a kind of registry, another table's key is a coincidence.
        let own = within.path().is_none() && within.section != "registry";
        match self.shapes.home_of(key).filter(|home| own && *home != within.section) {
            Some(home) => item.help(format!("`{key}` is a key of {}", written_as(home))),
            None => item.help(format!("the keys here are: {}", known.join(", "))),
        }
    }
}

/// How the header of a table is written.
fn written_as(section: &str) -> String {
    match section {
        "route" => "[[route]]".into(),
        "server" | "admin" | "access_log" => format!("[{section}]"),
        named => format!("[{named}.NAME]"),
    }
}
