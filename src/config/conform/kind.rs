//! Registries: `kind` decides which other keys there are.

use std::ops::Range;

use serde_json::{Value, json};
use toml::{Spanned, de::DeValue};

use super::{Conform, Within};
use crate::config::{
    diagnostics::{Diagnostic, closest},
    later,
};

impl Conform<'_> {
    /// Chooses the schema by `kind`, then holds the table against it.
    pub(super) fn registry(
        &mut self,
        value: &mut Spanned<DeValue<'_>>,
        shape: &Value,
        within: &Within<'_>,
    ) -> bool {
        let span = value.span();
        let DeValue::Table(table) = value.get_mut() else {
            return self.wrong_type(value, &json!({ "type": "object" }), within);
        };
        let kinds = shape.get("oneOf").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let names: Vec<&str> = kinds.iter().filter_map(name).collect();
        let Some(kind) = table.get("kind") else {
            let message = format!("{} has no `kind`", within.describe());
            let item = Diagnostic::error("missing-key", span, message)
                .label("`kind` has to stand here")
                .help(format!("the kinds are: {}", names.join(", ")));
            self.findings.push(item);
            return false;
        };
        let word = kind.get_ref().as_str();
        let Some(chosen) = kinds.iter().find(|shape| word.is_some() && name(shape) == word) else {
            let item = unknown_kind(word, kind.span(), &names);
            self.findings.push(item);
            return false;
        };
        self.object(table, span, chosen, within);
        true
    }
}

fn name(shape: &Value) -> Option<&str> {
    shape.pointer("/properties/kind/const")?.as_str()
}

fn unknown_kind(kind: Option<&str>, span: Range<usize>, names: &[&str]) -> Diagnostic {
    let list = format!("the kinds are: {}", names.join(", "));
    let Some(kind) = kind else {
        let message = "the `kind` of a registry has to be a string";
        return Diagnostic::error("wrong-type", span, message).help(list);
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
            .help(list);
    }
    let message = format!("there is no kind of registry `{kind}`");
    let item = Diagnostic::error("unknown-kind", span.clone(), message).label("no such kind");
    match closest(kind, names.iter().copied()) {
        Some(meant) => {
            item.help(format!("did you mean `{meant}`?")).replace(span, format!("\"{meant}\""))
        }
        None => item.help(list),
    }
}
