//! What is wrong with a config: where, what, and what to write instead.
//!
//! Filled by `load` and `check`, shown by the command line, the log and the status API. Never holds a secret: the text
//! it quotes from has been blanked.

use std::{fmt, ops::Range};

mod render;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The config is not used.
    Error,
    /// It is used, and probably not meant.
    Warning,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// Kebab-case and stable: what scripts and searches hold on to.
    pub code: &'static str,
    /// One sentence in lower case, without a full stop.
    pub message: String,
    /// Bytes of the file; none when the file could not be read.
    pub span: Option<Range<usize>>,
    /// What stands beside the underline.
    pub label: String,
    pub help: Option<String>,
    /// What to put in place of some bytes of the file.
    pub replacement: Option<(Range<usize>, String)>,
    /// Another place that this one has to do with, and why.
    pub related: Option<(Range<usize>, String)>,
}

/// All findings of one file, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    name: String,
    text: String,
    lines: Vec<usize>,
    items: Vec<Diagnostic>,
    omitted: usize,
}

/// Findings as they come in; bounded, since a file may be wrong in a million places.
#[derive(Debug, Default)]
pub(super) struct Findings {
    items: Vec<Diagnostic>,
    omitted: usize,
    errors: usize,
}

/// Bytes of a message; what is longer quotes something that is no name.
const LONGEST: usize = 1000;
/// Bytes of a word that may be a misspelt one.
const LONGEST_WORD: usize = 100;
/// Words that a misspelt one is compared with.
const CANDIDATES: usize = 2000;
/// Findings that a suggestion is looked for; what follows them is not shown whole anyway.
const ADVISED: usize = 100;
/// The most findings that are kept.
const KEPT: usize = 1000;

// === impl Severity ===

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

// === impl Diagnostic ===

impl Diagnostic {
    pub(super) fn error(
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Error, code, Some(span), message.into())
    }

    pub(super) fn warning(
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Warning, code, Some(span), message.into())
    }

    fn new(
        severity: Severity,
        code: &'static str,
        span: Option<Range<usize>>,
        message: String,
    ) -> Self {
        let label = String::new();
        Self { severity, code, message, span, label, help: None, replacement: None, related: None }
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn replace(mut self, span: Range<usize>, text: impl Into<String>) -> Self {
        self.replacement = Some((span, text.into()));
        self
    }

    pub(super) fn related(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.related = Some((span, label.into()));
        self
    }
}

// === impl Diagnostics ===

impl Diagnostics {
    /// A file that could not even be read.
    pub(super) fn unreadable(name: &str, message: String) -> Self {
        let item = Diagnostic::new(Severity::Error, "unreadable-file", None, message);
        Self::new(name, String::new(), Findings { items: vec![item], omitted: 0, errors: 1 })
    }

    /// One error that shows only when what was read is built: a key file that holds no key, say.
    pub fn refusal(
        name: &str,
        text: &str,
        code: &'static str,
        message: String,
        span: Option<Range<usize>>,
    ) -> Self {
        let item = Diagnostic::new(Severity::Error, code, span, message);
        let findings = Findings { items: vec![item], omitted: 0, errors: 1 };
        Self::new(name, super::blank::blank(text, &[]), findings)
    }

    /// Takes a text in which secrets have been blanked already.
    pub(super) fn new(name: &str, text: String, findings: Findings) -> Self {
        let mut items = findings.items;
        items.sort_by(|a, b| Self::order(a).cmp(&Self::order(b)));
        items.dedup();
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect();
        Self { name: name.into(), text, lines, items, omitted: findings.omitted }
    }

    fn order(item: &Diagnostic) -> (usize, usize, Severity, &str, &str) {
        let (start, end) = item.span.as_ref().map_or((0, 0), |span| (span.start, span.end));
        (start, end, item.severity, item.code, &item.message)
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.items.iter()
    }

    /// The name of the file, as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Line and column where a finding starts, both from 1; columns count characters.
    pub fn position(&self, item: &Diagnostic) -> Option<(usize, usize)> {
        item.span.as_ref().map(|span| self.line_and_column(span.start))
    }

    fn line_and_column(&self, at: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= at).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        let end = floor_boundary(&self.text, at);
        let before = self.text.get(start..end).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// One line for each finding: `file:line:column: message`.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let more = (self.omitted > 0).then(|| format!("{}: and {} more", self.name, self.omitted));
        self.items.iter().map(|item| self.line(item)).chain(more)
    }

    fn line(&self, item: &Diagnostic) -> String {
        let place = match self.position(item) {
            Some((line, column)) => format!("{}:{line}:{column}", self.name),
            None => self.name.clone(),
        };
        let help = item.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
        let line = format!("{place}: {}{help}", item.message);
        line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, line) in self.lines().enumerate() {
            let gap = if at > 0 { "\n" } else { "" };
            write!(f, "{gap}{line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

// === impl Findings ===

impl Findings {
    pub(super) fn push(&mut self, mut item: Diagnostic) {
        self.errors += usize::from(item.severity == Severity::Error);
        if self.items.len() < KEPT {
            shorten(&mut item.message);
            item.help.iter_mut().for_each(shorten);
            self.items.push(item);
        } else {
            self.omitted += 1;
        }
    }

    /// How many errors there are so far.
    pub(super) fn errors(&self) -> usize {
        self.errors
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The candidate that was most probably meant; not looked for once there is too much to report.
    pub(super) fn closest<'c>(
        &self,
        word: &str,
        candidates: impl IntoIterator<Item = &'c str>,
    ) -> Option<&'c str> {
        (self.items.len() < ADVISED).then(|| closest(word, candidates)).flatten()
    }

    /// Without the warnings, which are noise while there are errors.
    pub(super) fn errors_only(mut self) -> Self {
        self.items.retain(|item| item.severity == Severity::Error);
        self
    }
}

/// The last character boundary at or before `at`.
fn floor_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn shorten(text: &mut String) {
    if text.len() > LONGEST {
        text.truncate(floor_boundary(text, LONGEST));
        text.push_str("...");
    }
}

/// The candidate that was most probably meant.
pub(super) fn closest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    if word.len() > LONGEST_WORD {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace(['-', ' ', '.'], "_");
    let word = plain(word);
    let scored = candidates.into_iter().take(CANDIDATES).map(|candidate| {
        (strsim::normalized_damerau_levenshtein(&word, &plain(candidate)), candidate)
    });
    scored
        .filter(|(score, _)| *score >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
