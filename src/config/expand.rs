//! `${NAME}` and `${NAME:-default}` in the strings of the file.
//!
//! Called by `conform` for each string. Never looks at the environment itself: what to ask is passed in.

use std::borrow::Cow;

/// What is wrong with a variable, and which part of the text it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum VariableError<'t> {
    /// `${` without an end or without a name.
    Malformed(&'t str),
    /// Not set, and no default.
    Undefined { name: &'t str, whole: &'t str },
}

/// The text with its variables replaced; borrowed when there are none. `$${` is a `${` that stays.
pub(super) fn expand<'t>(
    text: &'t str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Cow<'t, str>, VariableError<'t>> {
    if !text.contains("${") {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let start = rest.len() - after.len() - 2;
        let malformed = || VariableError::Malformed(rest.get(start..).unwrap_or_default());
        let (inside, tail) = after.split_once('}').ok_or_else(malformed)?;
        let whole = rest.get(start..start + inside.len() + 3).unwrap_or_default();
        out.push_str(&resolve(inside, whole, env)?);
        rest = tail;
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

fn resolve<'t>(
    inside: &'t str,
    whole: &'t str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<String, VariableError<'t>> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if !is_variable_name(name) {
        return Err(VariableError::Malformed(whole));
    }
    // As in a shell, `:-` also stands in for a variable that is set and empty.
    let value = env(name).filter(|value| default.is_none() || !value.is_empty());
    value.or_else(|| default.map(String::from)).ok_or(VariableError::Undefined { name, whole })
}

pub(super) fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "A" => Some("1".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced_once() {
        for (text, value) in [
            ("plain $ {}", "plain $ {}"),
            ("${A}", "1"),
            ("x${A}y${A}", "x1y1"),
            ("${B:-two}", "two"),
            ("${B:-}", ""),
            ("${EMPTY:-d}", "d"),
            ("${EMPTY}", ""),
            ("$${A}", "${A}"),
        ] {
            assert_eq!(expand(text, &env).unwrap(), value, "{text}");
        }
    }

    #[test]
    fn what_is_undefined_or_malformed_is_named() {
        assert_eq!(
            expand("a${NO}b", &env),
            Err(VariableError::Undefined { name: "NO", whole: "${NO}" })
        );
        assert_eq!(expand("a${A", &env), Err(VariableError::Malformed("${A")));
        assert_eq!(expand("${1A}", &env), Err(VariableError::Malformed("${1A}")));
        assert_eq!(expand("${}", &env), Err(VariableError::Malformed("${}")));
    }
}
