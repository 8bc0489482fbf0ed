//! Finds where in the file a value stands, by the names and numbers that lead to it.
//!
//! Used by `check`. Holds the file as it was written: what it quotes never came from the environment.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A value of the file, or where it would stand.
#[derive(Clone)]
pub(super) struct Place<'t> {
    value: Option<&'t DeValue<'t>>,
    key: Range<usize>,
    span: Range<usize>,
}

impl<'t> Place<'t> {
    /// One table of the top level; [`Self::key`] leads on from there.
    pub(super) fn section(root: &'t DeTable<'t>, name: &str) -> Self {
        match root.get_key_value(name) {
            Some((key, value)) => Self::of(key.span(), value),
            None => Self { value: None, key: 0..0, span: 0..0 },
        }
    }

    fn of(key: Range<usize>, value: &'t Spanned<DeValue<'t>>) -> Self {
        Self { value: Some(value.get_ref()), key, span: value.span() }
    }

    /// What is missing stands where its table does.
    fn missing(&self) -> Self {
        Self { value: None, key: self.span.clone(), span: self.span.clone() }
    }

    pub(super) fn key(&self, name: &str) -> Self {
        let table = self.value.and_then(DeValue::as_table);
        match table.and_then(|table| table.get_key_value(name)) {
            Some((key, value)) => Self::of(key.span(), value),
            None => self.missing(),
        }
    }

    /// An element of a list; of a value that stands alone, that value.
    pub(super) fn item(&self, index: usize) -> Self {
        let Some(list) = self.value.and_then(DeValue::as_array) else { return self.clone() };
        list.get(index).map_or_else(|| self.missing(), |value| Self::of(value.span(), value))
    }

    /// The element of a list that is this text; else the list, or the value that stands alone.
    pub(super) fn find(&self, text: &str) -> Self {
        let list = self.value.and_then(DeValue::as_array);
        let found = list.and_then(|list| list.iter().find(|v| v.get_ref().as_str() == Some(text)));
        found.map_or_else(|| self.clone(), |value| Self::of(value.span(), value))
    }

    pub(super) fn exists(&self) -> bool {
        self.value.is_some()
    }

    /// Where the value stands.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Where the key stands.
    pub(super) fn key_span(&self) -> Range<usize> {
        self.key.clone()
    }

    /// A string as it was written, variables and all.
    pub(super) fn written(&self) -> Option<&'t str> {
        self.value.and_then(DeValue::as_str)
    }

    /// [`Self::written`] for messages; `...` for what is no string.
    pub(super) fn quote(&self) -> &'t str {
        self.written().unwrap_or("...")
    }

    /// The keys of a table, with their places.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'t str, Self)> + use<'t> {
        let table = self.value.and_then(DeValue::as_table);
        let entries = table.into_iter().flat_map(|table| table.iter());
        entries.map(|(key, value)| (key.get_ref().as_ref(), Self::of(key.span(), value)))
    }

    /// The elements of a list.
    pub(super) fn items(&self) -> impl Iterator<Item = Self> + use<'t> {
        let list = self.value.and_then(DeValue::as_array);
        let items = list.into_iter().flat_map(|list| list.iter());
        items.map(|value| Self::of(value.span(), value))
    }
}
