//! Blanks what must not be shown out of the text that diagnostics quote.
//!
//! Called once for a file that something is wrong with. Never changes a byte's place: lines and columns stay true.

use std::ops::Range;

use regex::Regex;

/// Keys whose values are taken for secrets wherever they stand, misspelt tables and broken syntax included.
const SECRET_KEYS: &str = concat!(
    r#"(?i)(?:[\w-]*(?:secret|passw|passphrase|pwd|token|credential|private|api_?key)[\w-]*|"#,
    r#"(?-i:\b(?:d|p|q|dp|dq|qi|k)))["']?[ \t]*=[ \t]*"#,
);

/// The text with every byte of a secret, and of what looks like one, replaced by `*`.
pub(super) fn blank(text: &str, secrets: &[Range<usize>]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for span in secrets.iter().cloned().chain(suspects(text)) {
        for byte in bytes.get_mut(span).into_iter().flatten().filter(|byte| **byte != b'\n') {
            *byte = b'*';
        }
    }
    // Spans of whole characters only, so this is UTF-8 still; if not, nothing is shown.
    String::from_utf8(bytes).unwrap_or_default()
}

/// The values of keys that sound like secrets, found without a parser: syntax errors show their line too.
fn suspects(text: &str) -> Vec<Range<usize>> {
    let Ok(keys) = Regex::new(SECRET_KEYS) else {
        return std::iter::once(0..text.len()).collect();
    };
    keys.find_iter(text).filter_map(|key| value_at(text, key.end())).collect()
}

/// The inside of the value that starts at `start`, unless it is a variable, a truth value, a list or a table.
fn value_at(text: &str, start: usize) -> Option<Range<usize>> {
    let rest = text.get(start..)?;
    let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| rest.starts_with(quote));
    let Some(quote) = quote else {
        let end = rest.find(['\n', ',', '}', '#']).unwrap_or(rest.len());
        let word = rest.get(..end)?.trim();
        let shown =
            word.is_empty() || word.starts_with(['{', '[']) || matches!(word, "true" | "false");
        return (!shown).then(|| start..start + end);
    };
    let inside = rest.get(quote.len()..)?;
    let end = end_of_string(inside, quote);
    let name = inside.get(..end)?.strip_prefix("${").and_then(|name| name.strip_suffix('}'));
    let variable = name.is_some_and(super::expand::is_variable_name);
    (!variable).then(|| start + quote.len()..start + quote.len() + end)
}

/// How far a string goes: to its closing quote, else to the end of the line or, for a long one, of the text.
fn end_of_string(inside: &str, quote: &str) -> usize {
    let long = quote.len() == 3;
    let escapes = quote.starts_with('"');
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        if escaped {
            escaped = false;
        } else if escapes && c == '\\' {
            escaped = true;
        } else if inside.get(at..).is_some_and(|rest| rest.starts_with(quote)) || c == '\n' && !long
        {
            return at;
        }
    }
    inside.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sounds_like_a_secret_is_blanked_in_place() {
        for (text, shown) in [
            ("password = \"hunter2\"", "password = \"*******\""),
            ("x = { Secret='a', y = 1 }", "x = { Secret='*', y = 1 }"),
            ("secret = \"a\\\"b\nc = 1", "secret = \"****\nc = 1"),
            ("token = '''a\nb'''\nc = 1", "token = '''*\n*'''\nc = 1"),
            ("token = 12345 # x", "token = ******# x"),
            ("k = { d = \"prv\" }", "k = { d = \"***\" }"),
        ] {
            assert_eq!(blank(text, &[]), shown);
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "password = \"${PW}\"",
            "forward_token = true",
            "secret = { file = \"a\" }",
            "name = \"password\"",
        ] {
            assert_eq!(blank(text, &[]), text);
        }
    }

    #[test]
    fn a_span_given_is_blanked_and_lines_stay() {
        assert_eq!(blank("ab\näc", std::slice::from_ref(&(1..5))), "a*\n**c");
    }
}
