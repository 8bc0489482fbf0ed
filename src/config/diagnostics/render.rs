//! Shows findings as the Rust compiler shows its own: the line, the underline, the advice.
//!
//! Called through [`Diagnostics::render`]. Never reads the file again: it quotes the blanked text.

use std::{fmt::Write, ops::Range};

use annotate_snippets::{AnnotationKind, Group, Level, Patch, Renderer, Snippet};

use super::{Diagnostic, Diagnostics, Severity, floor_boundary};

/// The most findings that are shown whole.
const SHOWN: usize = 50;
/// A span over more lines than this is shown by its first line.
const TALL: usize = 6;
/// A line longer than this is not quoted: it is no line that a person wrote.
const LONG: usize = 10_000;

/// Some lines of the file, and where they stand in it.
struct Excerpt<'t> {
    text: &'t str,
    first_line: usize,
    offset: usize,
}

impl Diagnostics {
    /// The findings with their lines underlined, for people.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        for item in self.items.iter().take(SHOWN) {
            let _ = writeln!(out, "{}\n", renderer.render(&self.report(item)));
        }
        let more = self.items.len().saturating_sub(SHOWN) + self.omitted;
        if more > 0 {
            let _ = writeln!(out, "... and {more} more\n");
        }
        let _ = writeln!(out, "{}: {}", self.name, self.summary());
        out
    }

    /// `2 errors, 1 warning`.
    pub fn summary(&self) -> String {
        let count = |severity| self.items.iter().filter(|item| item.severity == severity).count();
        let errors = count(Severity::Error);
        let warnings = count(Severity::Warning);
        let word = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
        match (errors, warnings) {
            (0, 0) => "no errors".into(),
            (0, warnings) => word(warnings, "warning"),
            (errors, 0) => word(errors, "error"),
            (errors, warnings) => {
                format!("{}, {}", word(errors, "error"), word(warnings, "warning"))
            }
        }
    }

    fn report<'d>(&'d self, item: &'d Diagnostic) -> Vec<Group<'d>> {
        let level = match item.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(&item.message).id(item.code);
        let mut groups = vec![match &item.span {
            Some(span) => self.quoted(title, item, span),
            None => Group::with_title(title),
        }];
        groups.extend(self.advice(item));
        groups
    }

    fn quoted<'d>(
        &'d self,
        title: annotate_snippets::Title<'d>,
        item: &'d Diagnostic,
        span: &Range<usize>,
    ) -> Group<'d> {
        let excerpt = self.excerpt(span);
        let label = Some(item.label.as_str()).filter(|label| !label.is_empty());
        let primary = AnnotationKind::Primary.span(excerpt.place(span)).label(label);
        let mut group = title.element(self.snippet(&excerpt).annotation(primary));
        if let Some((span, label)) = &item.related {
            let excerpt = self.excerpt(span);
            let context = AnnotationKind::Context.span(excerpt.place(span)).label(label.as_str());
            group = group.element(self.snippet(&excerpt).annotation(context));
        }
        group
    }

    fn advice<'d>(&'d self, item: &'d Diagnostic) -> Option<Group<'d>> {
        let title = Level::HELP.secondary_title(item.help.as_deref()?);
        let Some((span, text)) = &item.replacement else { return Some(Group::with_title(title)) };
        let excerpt = self.excerpt(span);
        let snippet = Snippet::source(excerpt.text)
            .path(self.name.as_str())
            .line_start(excerpt.first_line)
            .patch(Patch::new(excerpt.place(span), text.as_str()));
        Some(title.element(snippet))
    }

    fn snippet<'d>(
        &'d self,
        excerpt: &Excerpt<'d>,
    ) -> Snippet<'d, annotate_snippets::Annotation<'d>> {
        Snippet::source(excerpt.text).path(self.name.as_str()).line_start(excerpt.first_line)
    }

    /// The lines of a span: quoting the whole file for each finding would take a time with its square.
    fn excerpt(&self, span: &Range<usize>) -> Excerpt<'_> {
        let (first_line, _) = self.line_and_column(span.start);
        let (last_line, _) = self.line_and_column(span.end.max(span.start));
        let last_line = if last_line - first_line > TALL { first_line } else { last_line };
        let offset = self.lines.get(first_line - 1).copied().unwrap_or(0);
        let end = self.lines.get(last_line).map_or(self.text.len(), |next| next - 1);
        let end = floor_boundary(&self.text, end.min(offset.saturating_add(LONG)));
        let text = self.text.get(offset..end).unwrap_or_default().trim_end_matches('\r');
        Excerpt { text, first_line, offset }
    }
}

impl Excerpt<'_> {
    /// Where a span of the file lies in the excerpt, cut to it and to whole characters.
    fn place(&self, span: &Range<usize>) -> Range<usize> {
        let cut = |at: usize| floor_boundary(self.text, at.saturating_sub(self.offset));
        let start = cut(span.start);
        start..cut(span.end).max(start)
    }
}
