//! The values of a table: their types, their words, their bounds, and the variables in them.

use serde_json::Value;
use toml::{Spanned, de::DeValue};

use super::{Conform, Within};
use crate::config::{
    diagnostics::{Diagnostic, closest},
    expand::{VariableError, expand},
};

impl Conform<'_> {
    /// Whether a value has a type that the schema allows; its content is another matter.
    pub(in crate::config) fn fits(&self, value: &DeValue<'_>, shape: &Value) -> bool {
        let shape = self.shapes.resolve(shape);
        if let Some(options) = shape.get("anyOf").or_else(|| shape.get("oneOf")) {
            return options.as_array().into_iter().flatten().any(|option| self.fits(value, option));
        }
        match shape.get("type").and_then(Value::as_str) {
            None => true,
            Some("array") => matches!(value, DeValue::Array(_)),
            Some("boolean") => matches!(value, DeValue::Boolean(_)),
            Some("integer") => matches!(value, DeValue::Integer(_)),
            Some("number") => matches!(value, DeValue::Integer(_) | DeValue::Float(_)),
            Some("object") => matches!(value, DeValue::Table(_)),
            Some(_) => matches!(value, DeValue::String(_)),
        }
    }

    /// Always false, to be returned.
    pub(in crate::config) fn wrong_type(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        shape: &Value,
        within: &Within<'_>,
    ) -> bool {
        let expected = self.expected(shape).join(" or ");
        let found = found(value.get_ref());
        let message = format!("{} has to be {expected}, and is {found}", within.describe());
        let mut item = Diagnostic::error("wrong-type", value.span(), message)
            .label(format!("this is {found}"));
        if let Some(help) = type_help(value.get_ref(), within) {
            item = item.help(help);
        }
        self.findings.push(item);
        false
    }

    fn expected(&self, shape: &Value) -> Vec<String> {
        let shape = self.shapes.resolve(shape);
        if let Some(options) = shape.get("anyOf").and_then(Value::as_array) {
            return options.iter().flat_map(|option| self.expected(option)).collect();
        }
        let example = shape.get("examples").and_then(|list| list.get(0)).and_then(Value::as_str);
        let word = match shape.get("type").and_then(Value::as_str) {
            Some("array") => "a list".into(),
            Some("boolean") => "true or false".into(),
            Some("integer") => "a whole number".into(),
            Some("number") => "a number".into(),
            Some("object") => "a table".into(),
            _ => match example {
                Some(example) => format!("a string with its unit (\"{example}\", say)"),
                None => String::from("a string"),
            },
        };
        vec![word]
    }

    /// Puts variables in, then checks a word against those that are allowed.
    pub(super) fn string(
        &mut self,
        value: &mut Spanned<DeValue<'_>>,
        shape: &Value,
        within: &Within<'_>,
    ) -> bool {
        let span = value.span();
        let DeValue::String(text) = value.get_mut() else { return true };
        let written = text.clone().into_owned();
        let expanded = match expand(&written, self.env) {
            Ok(expanded) => expanded,
            Err(error) => {
                let item = self.bad_variable(&error, span);
                self.findings.push(item);
                return false;
            }
        };
        let known = words(shape);
        if !known.is_empty() && !known.contains(&expanded.as_ref()) {
            let mut item = Diagnostic::error(
                "unknown-value",
                span.clone(),
                format!("`{written}` is nothing that {} can be", within.describe()),
            );
            item = match closest(&written, known.iter().copied()) {
                Some(meant) => item
                    .help(format!("did you mean \"{meant}\"?"))
                    .replace(span, format!("\"{meant}\"")),
                None => item.help(format!("it is one of: {}", known.join(", "))),
            };
            self.findings.push(item);
            return false;
        }
        if expanded != written {
            *text = expanded.into_owned().into();
            self.expanded.push((span, written));
        }
        true
    }

    /// Points at the variable itself where it stands in the file as such.
    fn bad_variable(&self, error: &VariableError<'_>, span: std::ops::Range<usize>) -> Diagnostic {
        let (VariableError::Malformed(part) | VariableError::Undefined { whole: part, .. }) = error;
        let source = self.text.get(span.clone()).unwrap_or_default();
        let span = match source.find(part) {
            Some(at) => span.start + at..span.start + at + part.len(),
            None => span,
        };
        match error {
            VariableError::Malformed(_) => Diagnostic::error(
                "bad-variable",
                span,
                "this is no variable".to_owned(),
            )
            .help("write ${NAME} or ${NAME:-default}, and $${ for a ${ that is meant as it stands"),
            VariableError::Undefined { name, .. } => {
                let message = format!("the environment variable `{name}` is not set");
                Diagnostic::error("undefined-variable", span, message)
                    .label("not set")
                    .help(format!("set it, or give a default: ${{{name}:-...}}"))
            }
        }
    }

    /// Holds a number against its bounds.
    pub(super) fn number(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        shape: &Value,
        within: &Within<'_>,
    ) -> bool {
        let number = match value.get_ref() {
            // Only for the comparison: what is near enough a bound to be rounded is refused by the type.
            DeValue::Integer(n) => {
                i64::from_str_radix(n.as_str(), n.radix()).map_or(f64::NAN, |n| n as f64)
            }
            DeValue::Float(n) => n.as_str().replace('_', "").parse().unwrap_or(f64::NAN),
            _ => return true,
        };
        let (min, max) = bounds(shape);
        if (min..=max).contains(&number) {
            return true;
        }
        let range =
            if max < 1e15 { format!("from {min} to {max}") } else { format!("{min} or more") };
        let message = format!("{} has to be {range}", within.describe());
        self.findings.push(Diagnostic::error("out-of-range", value.span(), message));
        false
    }
}

/// The words that a string may be, where there are only some.
fn words(shape: &Value) -> Vec<&str> {
    let listed = shape.get("enum").and_then(Value::as_array).into_iter().flatten();
    let described = shape.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let described = described.filter_map(|word| word.get("const"));
    listed.chain(described).filter_map(Value::as_str).collect()
}

fn bounds(shape: &Value) -> (f64, f64) {
    let bound = |name: &str| shape.get(name).and_then(Value::as_f64);
    let widest = match shape.get("format").and_then(Value::as_str) {
        Some("uint8") => 255.0,
        Some("uint16") => 65_535.0,
        Some("uint32") => f64::from(u32::MAX),
        _ => f64::MAX,
    };
    (bound("minimum").unwrap_or(f64::MIN), bound("maximum").unwrap_or(widest))
}

fn found(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Array(_) => "a list",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date",
        DeValue::Float(_) | DeValue::Integer(_) => "a number",
        DeValue::String(_) => "a string",
        DeValue::Table(_) => "a table",
    }
}

/// Advice for the types that people mix up.
fn type_help(value: &DeValue<'_>, within: &Within<'_>) -> Option<String> {
    let named = matches!(within.section, "listener" | "registry" | "jwt" | "upstream");
    match value {
        DeValue::Table(_) if within.section == "route" && within.key.is_none() => {
            Some("routes are a list: write [[route]]".into())
        }
        _ if named && within.key.is_none() => {
            Some(format!("write [{0}.NAME], with a name of your choice", within.section))
        }
        _ => None,
    }
}
