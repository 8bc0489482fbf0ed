//! Holds a table of the file against the schema: unknown and missing keys, wrong types, variables, secrets.
//!
//! Called by `load` for each table before it is read into its type. What does not fit is reported and taken out, so
//! that all that is wrong shows in one pass. Never accepts what the schema does not have.

use std::{ops::Range, path::Path};

use serde_json::Value;
use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use super::{
    diagnostics::{Diagnostic, Findings, closest},
    expand::{VariableError, expand},
    later,
    schema::{Shapes, definition},
};

mod scalar;
mod secret;

/// One pass over a file.
pub(super) struct Conform<'a> {
    pub(super) shapes: &'a Shapes,
    pub(super) text: &'a str,
    /// The folder that relative paths start from.
    pub(super) base: &'a Path,
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    pub(super) findings: Findings,
    /// Strings that variables were put into, with what was written there.
    pub(super) expanded: Vec<(Range<usize>, String)>,
    /// Where secrets stand that must not be shown.
    pub(super) secrets: Vec<Range<usize>>,
}

/// Where in the file we are, for messages.
#[derive(Clone, Copy)]
pub(super) struct Within<'w> {
    /// The kind of table: `route`, `upstream`, ... or nothing at the top.
    pub(super) section: &'w str,
    /// That table for people: ``route `orders` ``.
    pub(super) table: &'w str,
    outer: Option<&'w Within<'w>>,
    key: Option<&'w str>,
}

impl<'w> Within<'w> {
    pub(super) fn table(section: &'w str, table: &'w str) -> Self {
        Self { section, table, outer: None, key: None }
    }

    fn key(&'w self, key: &'w str) -> Self {
        Self { key: Some(key), outer: Some(self), ..*self }
    }

    /// The keys that lead here: `rate_limit.burst`.
    fn path(&self) -> Option<String> {
        let key = self.key?;
        match self.outer.and_then(Self::path) {
            Some(outer) => Some(format!("{outer}.{key}")),
            None => Some(key.into()),
        }
    }

    /// A table or value for people: ``  `rate_limit` of route `orders`  ``.
    pub(super) fn describe(&self) -> String {
        match self.path() {
            Some(path) => format!("`{path}` of {}", self.table),
            None => self.table.into(),
        }
    }
}

impl Conform<'_> {
    /// Checks a value and expands what is in it. False: it has been reported and cannot stay.
    pub(super) fn value(
        &mut self,
        value: &mut Spanned<DeValue<'_>>,
        shape: &Value,
        within: &Within<'_>,
    ) -> bool {
        if definition(shape) == Some("Secret") {
            return self.secret(value, within);
        }
        let shapes = self.shapes;
        let shape = shapes.resolve(shape);
        if let Some(options) = shape.get("anyOf").and_then(Value::as_array) {
            return match options.iter().find(|option| self.fits(value.get_ref(), option)) {
                Some(option) => self.value(value, option, within),
                None => self.wrong_type(value, shape, within),
            };
        }
        if shape.get("oneOf").is_some_and(|kinds| kinds.pointer("/0/properties/kind").is_some()) {
            return self.registry(value, shape, within);
        }
        if !self.fits(value.get_ref(), shape) {
            return self.wrong_type(value, shape, within);
        }
        let span = value.span();
        match value.get_mut() {
            DeValue::Table(table) => self.object(table, span, shape, within),
            DeValue::Array(list) => self.list(list, shape, within),
            DeValue::String(_) => return self.string(value, shape, within),
            DeValue::Integer(_) | DeValue::Float(_) => return self.number(value, shape, within),
            DeValue::Boolean(_) | DeValue::Datetime(_) => {}
        }
        true
    }

    fn object(
        &mut self,
        table: &mut DeTable<'_>,
        span: Range<usize>,
        shape: &Value,
        within: &Within<'_>,
    ) {
        let properties = shape.get("properties");
        let others = shape.get("additionalProperties").unwrap_or(&Value::Null);
        self.missing_keys(table, span, shape, within);
        let keys: Vec<_> =
            table.keys().map(|key| (key.get_ref().clone().into_owned(), key.span())).collect();
        for (key, span) in keys {
            let shape = properties.and_then(|keys| keys.get(&key)).unwrap_or(others);
            let stays = match table.get_mut(key.as_str()) {
                Some(value) if *shape != Value::Bool(false) => {
                    self.value(value, shape, &within.key(&key))
                }
                Some(value) => {
                    let value = value.span();
                    self.unknown_key(&key, span, value, properties, within)
                }
                None => true,
            };
            if !stays {
                table.remove(key.as_str());
            }
        }
    }

    fn list(&mut self, list: &mut DeArray<'_>, shape: &Value, within: &Within<'_>) {
        let items = shape.get("items").unwrap_or(&Value::Null);
        let all = std::mem::replace(list, DeArray::new());
        for mut item in all {
            if self.value(&mut item, items, within) {
                list.push(item);
            }
        }
    }

    fn missing_keys(
        &mut self,
        table: &DeTable<'_>,
        span: Range<usize>,
        shape: &Value,
        within: &Within<'_>,
    ) {
        let required = shape.get("required").and_then(Value::as_array);
        let required = required.into_iter().flatten().filter_map(Value::as_str);
        for key in required.filter(|key| !table.contains_key(*key)) {
            let message = format!("{} has no `{key}`", within.describe());
            let about = shape.get("properties").and_then(|keys| keys.get(key));
            let about = about.and_then(|about| about.get("description")).and_then(Value::as_str);
            let mut item = Diagnostic::error("missing-key", span.clone(), message)
                .label(format!("`{key}` has to stand here"));
            if let Some(about) = about {
                item = item.help(format!("`{key}`: {}", about.lines().next().unwrap_or(about)));
            }
            self.findings.push(item);
        }
    }

    /// Always false: what is unknown never stays.
    pub(super) fn unknown_key(
        &mut self,
        key: &str,
        span: Range<usize>,
        value: Range<usize>,
        known: Option<&Value>,
        within: &Within<'_>,
    ) -> bool {
        // What stands under a wrong key may be a secret under a misspelt one.
        self.secrets.extend(secret::may_be_one(key).then_some(value));
        let place = within.describe();
        let own = within.path().is_none() || within.section == "listener";
        let section = if own { within.section } else { "nested" };
        if let Some(instead) = later::instead_of(section, key) {
            let message = format!("`{key}` in {place} is not in this version of tollgate");
            let item = Diagnostic::error("not-in-this-version", span, message);
            self.findings.push(item.label("not known yet").help(format!("until then, {instead}")));
            return false;
        }
        let known: Vec<&str> = known
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(k, _)| k.as_str())
            .collect();
        let message = format!("unknown key `{key}` in {place}");
        let item = Diagnostic::error("unknown-key", span.clone(), message).label("no such key");
        let ours = later::our_word(section, key).filter(|ours| known.contains(ours));
        let item = match ours.or_else(|| closest(key, known.iter().copied())) {
            Some(meant) => {
                item.help(format!("did you mean `{meant}`?")).replace(span, String::from(meant))
            }
            None => match self.shapes.home_of(key).filter(|home| *home != within.section) {
                Some(home) => item.help(format!("`{key}` is a key of {}", written_as(home))),
                None => item.help(format!("the keys here are: {}", known.join(", "))),
            },
        };
        self.findings.push(item);
        false
    }

    /// Chooses by `kind` first: it decides which keys there are.
    fn registry(
        &mut self,
        value: &mut Spanned<DeValue<'_>>,
        shape: &Value,
        within: &Within<'_>,
    ) -> bool {
        let span = value.span();
        let DeValue::Table(table) = value.get_mut() else {
            return self.wrong_type(value, &serde_json::json!({ "type": "object" }), within);
        };
        let kinds = shape.get("oneOf").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let name = |kind: &Value| kind.pointer("/properties/kind/const").cloned();
        let names: Vec<String> =
            kinds.iter().filter_map(|kind| Some(name(kind)?.as_str()?.to_owned())).collect();
        let Some(kind) = table.get("kind") else {
            let message = format!("{} has no `kind`", within.describe());
            let item = Diagnostic::error("missing-key", span, message)
                .label("`kind` has to stand here")
                .help(format!("the kinds are: {}", names.join(", ")));
            self.findings.push(item);
            return false;
        };
        let chosen = kinds
            .iter()
            .find(|shape| name(shape).as_ref().and_then(Value::as_str) == kind.get_ref().as_str());
        let Some(chosen) = chosen else {
            let item = unknown_kind(kind.get_ref().as_str(), kind.span(), &names);
            self.findings.push(item);
            return false;
        };
        self.object(table, span, chosen, within);
        true
    }
}

fn unknown_kind(kind: Option<&str>, span: Range<usize>, names: &[String]) -> Diagnostic {
    let list = names.join(", ");
    let Some(kind) = kind else {
        let message = "the `kind` of a registry has to be a string";
        return Diagnostic::error("wrong-type", span, message)
            .help(format!("the kinds are: {list}"));
    };
    if kind == "fixed" {
        let message = "a registry of kind `fixed` is not written as a registry";
        return Diagnostic::error("unknown-kind", span, message)
            .help("fixed instances go into [upstream.NAME] instances = [\"10.0.0.1:8080\"]");
    }
    if later::is_later_kind(kind) {
        let message = format!("registries of kind `{kind}` are not in this version of tollgate");
        return Diagnostic::error("not-in-this-version", span, message)
            .label("not known yet")
            .help(format!("the kinds are: {list}"));
    }
    let message = format!("there is no kind of registry `{kind}`");
    let item = Diagnostic::error("unknown-kind", span.clone(), message).label("no such kind");
    match closest(kind, names.iter().map(String::as_str)) {
        Some(meant) => {
            item.help(format!("did you mean `{meant}`?")).replace(span, format!("\"{meant}\""))
        }
        None => item.help(format!("the kinds are: {list}")),
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
