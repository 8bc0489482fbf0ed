//! Reads a table of the file into its type, and goes on after an error to find the next.
//!
//! Called by `load` after `conform`. Never quotes what came from the environment.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue, ValueDeserializer},
};

use super::diagnostics::{Diagnostic, Findings};

/// After so many errors in one table the rest of it is not looked at.
const MOST: usize = 50;

/// What reading into types needs to know of the pass so far.
pub(super) struct Typed<'a> {
    pub(super) findings: &'a mut Findings,
    /// Strings that variables were put into, with what was written there.
    pub(super) expanded: &'a [(Range<usize>, String)],
}

impl Typed<'_> {
    /// Reads a table. Each value that its type refuses is reported and left out; `damaged` says that some already was,
    /// so that what is missing is no news.
    pub(super) fn read<T: DeserializeOwned>(
        &mut self,
        mut table: Spanned<DeValue<'_>>,
        mut damaged: bool,
    ) -> Option<T> {
        for _ in 0..MOST {
            let error = match T::deserialize(ValueDeserializer::from(table.clone())) {
                Ok(value) => return Some(value),
                Err(error) => error,
            };
            let span = error.span().unwrap_or_else(|| table.span());
            let follows = damaged && error.message().starts_with("missing field");
            if !follows {
                let message = self.message::<T>(&table, &error, &span);
                self.findings.push(Diagnostic::error("bad-value", span.clone(), message));
            }
            damaged = true;
            if !remove(table.get_mut(), &span) {
                return None;
            }
        }
        None
    }

    /// The error's own words; where a variable stands, the words for what is written in the file.
    fn message<T: DeserializeOwned>(
        &self,
        table: &Spanned<DeValue<'_>>,
        error: &toml::de::Error,
        span: &Range<usize>,
    ) -> String {
        let hidden: Vec<_> = self
            .expanded
            .iter()
            .filter(|(at, _)| at.start < span.end && span.start < at.end)
            .collect();
        if hidden.is_empty() {
            return plain(error.message());
        }
        let mut written = table.clone();
        for (at, text) in hidden {
            write_back(&mut written, at, text);
        }
        match T::deserialize(ValueDeserializer::from(written)) {
            Err(error) if error.span().as_ref() == Some(span) => plain(error.message()),
            _ => "what the environment puts in here is not a value that can stand here".into(),
        }
    }
}

/// The words of the standard library say what is wrong, and not what would be right.
fn plain(message: &str) -> String {
    match message {
        "invalid socket address syntax" => {
            "this is no IP address with a port: write \"127.0.0.1:8080\" or \"[::1]:8080\"".into()
        }
        _ => message.into(),
    }
}

/// Puts what was written back in place of what a variable stood for.
fn write_back(value: &mut Spanned<DeValue<'_>>, at: &Range<usize>, written: &str) {
    let here = value.span() == *at;
    match value.get_mut() {
        DeValue::String(text) if here => *text = String::from(written).into(),
        DeValue::Array(list) => list.iter_mut().for_each(|item| write_back(item, at, written)),
        DeValue::Table(table) => {
            table.iter_mut().for_each(|(_, item)| write_back(item, at, written));
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => {}
    }
}

/// Removes the innermost value that an error lies in. False when there is none to remove.
fn remove(value: &mut DeValue<'_>, span: &Range<usize>) -> bool {
    let holds = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    match value {
        DeValue::Table(table) => {
            // A table with a header of its own does not lie within its parent: look into all of them.
            if table.iter_mut().any(|(_, inner)| remove(inner.get_mut(), span)) {
                return true;
            }
            let entry = table.iter().find(|(key, inner)| holds(key.span()) || holds(inner.span()));
            let key = entry.map(|(key, _)| key.get_ref().clone().into_owned());
            key.is_some_and(|key| DeTable::remove(table, key.as_str()).is_some())
        }
        DeValue::Array(list) => {
            if list.iter_mut().any(|inner| remove(inner.get_mut(), span)) {
                return true;
            }
            let before = list.len();
            let all = std::mem::replace(list, DeArray::new());
            *list = all.into_iter().filter(|inner| !holds(inner.span())).collect();
            list.len() < before
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => false,
    }
}
