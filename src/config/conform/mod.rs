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
    diagnostics::{Diagnostic, Findings},
    schema::{Shapes, definition},
};

mod kind;
mod scalar;
mod secret;
mod unknown;

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
    outer: Option<&'w Self>,
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
                    let (value, key) = (value.span(), Spanned::new(span, key.as_str()));
                    self.unknown_key(&key, value, properties, within)
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
            let written = table.keys().map(|key| key.get_ref().as_ref());
            if self.misspelt(within.section, written, shape.get("properties"), &[key]) {
                continue;
            }
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
}
