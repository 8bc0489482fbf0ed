//! Secrets: `"${NAME}"` or `{ file = "..." }`, and nothing else.

use std::{io::Read, ops::Range, path::Path};

use toml::{Spanned, de::DeValue};

use super::{Conform, Within};
use crate::config::{
    diagnostics::{Diagnostic, closest},
    expand::is_variable_name,
};

/// The largest file that is taken for a secret.
const LARGEST: u64 = 64 * 1024;

const FORMS: &str =
    "write \"${NAME}\" to take it from the environment, or { file = \"/run/secrets/name\" }";

impl Conform<'_> {
    /// Puts the secret itself into the tree. What is wrong is said without the value.
    pub(super) fn secret(&mut self, value: &mut Spanned<DeValue<'_>>, within: &Within<'_>) -> bool {
        let span = value.span();
        let secret = match value.get_ref() {
            DeValue::String(text) => {
                let name = text.strip_prefix("${").and_then(|name| name.strip_suffix('}'));
                match name.filter(|name| is_variable_name(name)) {
                    Some(name) => self.variable(name, span.clone()),
                    None => self.literal(span.clone(), within),
                }
            }
            DeValue::Table(table) => match (table.get("file"), table.len()) {
                (Some(file), 1) => self.file(&mut file.clone(), within),
                _ => self.literal(span.clone(), within),
            },
            _ => self.literal(span.clone(), within),
        };
        match secret {
            Some(secret) if secret.is_empty() => {
                let message = format!("{} is empty", within.describe());
                self.findings.push(Diagnostic::error("empty-secret", span, message));
                false
            }
            Some(secret) => {
                *value.get_mut() = DeValue::String(secret.into());
                // Whatever its type says about this place later on must not quote it.
                self.expanded.push((span, "***".into()));
                true
            }
            None => false,
        }
    }

    fn literal(&mut self, span: Range<usize>, within: &Within<'_>) -> Option<String> {
        self.secrets.push(span.clone());
        let place = within.describe();
        let message = format!("{place} is a secret, and secrets do not stand in this file");
        self.findings.push(Diagnostic::error("literal-secret", span, message).help(FORMS));
        None
    }

    fn variable(&mut self, name: &str, span: Range<usize>) -> Option<String> {
        let value = (self.env)(name);
        if value.is_none() {
            let message = format!("the environment variable `{name}` is not set");
            let item = Diagnostic::error("undefined-variable", span, message);
            self.findings.push(item.label("not set"));
        }
        value
    }

    fn file(&mut self, file: &mut Spanned<DeValue<'_>>, within: &Within<'_>) -> Option<String> {
        let span = file.span();
        let Some(written) = file.get_ref().as_str().map(String::from) else {
            return self.literal(span, within);
        };
        if !self.string(file, &serde_json::Value::Null, within) {
            return None;
        }
        let path = self.base.join(file.get_ref().as_str()?);
        match read(&path) {
            Ok(secret) => Some(secret),
            Err(why) => {
                let message = format!("cannot read `{written}`: {why}");
                self.findings.push(Diagnostic::error("unreadable-file", span, message));
                None
            }
        }
    }
}

/// Reads a secret. Editors and `echo` end a file with a line break; no secret ends with one.
fn read(path: &Path) -> Result<String, String> {
    let regular = std::fs::metadata(path).map_err(|error| kind(&error))?.is_file();
    if !regular {
        return Err("it is no file".into());
    }
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| kind(&error))?;
    let read = file.take(LARGEST + 1).read_to_string(&mut text).map_err(|error| kind(&error))?;
    if read as u64 > LARGEST {
        return Err("it is larger than 64 KiB".into());
    }
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

fn kind(error: &std::io::Error) -> String {
    error.kind().to_string()
}

/// Whether a key that does not exist may be a misspelt secret's.
pub(super) fn may_be_one(key: &str) -> bool {
    closest(key, ["secret", "password", "token", "keys"]).is_some()
}
