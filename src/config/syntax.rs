//! From text to a tree of values with their places.
//!
//! Called by `load` first. Never hands on a tree that is too deep to be walked.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::diagnostics::{Diagnostic, Findings};

/// Tables and lists within each other; a config needs seven.
const DEEPEST: usize = 32;

/// The tree of a text. None when its syntax is broken; a key that stands twice is reported and its first value kept.
pub(super) fn tree<'t>(text: &'t str, findings: &mut Findings) -> Option<Spanned<DeTable<'t>>> {
    let (mut tree, errors) = DeTable::parse_recoverable(text);
    let mut broken = false;
    for error in &errors {
        let twice = error.message() == "duplicate key";
        broken |= !twice;
        let span = widen(text, error.span().unwrap_or(0..0));
        findings.push(match twice {
            true => {
                let key = text.get(span.clone()).unwrap_or_default();
                Diagnostic::error(
                    "duplicate-key",
                    span,
                    format!("`{key}` stands here a second time"),
                )
                .label("already written above")
            }
            false => Diagnostic::error("syntax", span, error.message()),
        });
    }
    if let Some(deep) = too_deep(tree.get_ref()) {
        let message = format!("tables and lists within more than {DEEPEST} others");
        findings.push(Diagnostic::error("too-deep", deep, message));
        broken = true;
    }
    if broken {
        dismantle(std::mem::take(tree.get_mut()));
        return None;
    }
    Some(tree)
}

/// An empty span underlines the character at which it stands, where there is one on that line.
fn widen(text: &str, span: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let next = text.get(span.start..).and_then(|rest| rest.chars().next());
    match next.filter(|c| span.is_empty() && !matches!(c, '\r' | '\n')) {
        Some(c) => span.start..span.start + c.len_utf8(),
        None => span,
    }
}

/// A value that lies too deep. Walks without recursion, which is what such a file would break.
fn too_deep(root: &DeTable<'_>) -> Option<std::ops::Range<usize>> {
    let mut todo: Vec<_> = root.values().map(|value| (value, 1)).collect();
    while let Some((value, depth)) = todo.pop() {
        if depth > DEEPEST {
            return Some(value.span());
        }
        match value.get_ref() {
            DeValue::Table(table) => todo.extend(table.values().map(|inner| (inner, depth + 1))),
            DeValue::Array(list) => todo.extend(list.iter().map(|inner| (inner, depth + 1))),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {}
        }
    }
    None
}

/// Drops a tree level by level: dropping a deep one as it is would overflow the stack.
fn dismantle(root: DeTable<'_>) {
    let mut todo: Vec<_> = root.into_iter().map(|(_, value)| value).collect();
    while let Some(value) = todo.pop() {
        match value.into_inner() {
            DeValue::Table(table) => todo.extend(table.into_iter().map(|(_, inner)| inner)),
            DeValue::Array(list) => todo.extend(list),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {}
        }
    }
}
