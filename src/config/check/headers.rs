//! Rules for names and values of headers, wherever a route writes them.

use std::collections::BTreeMap;

use super::{Check, Diagnostic, Place, text};
use crate::config::HeaderEdits;

/// Headers that frame a message or belong to one connection: changing them changes where a message ends.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

impl Check<'_, '_> {
    pub(super) fn edits(&mut self, edits: &HeaderEdits, place: &Place<'_>) {
        self.header_map(&edits.set, &place.key("set"));
        self.header_map(&edits.add, &place.key("add"));
        let removed = place.key("remove");
        for name in &edits.remove {
            let at = removed.find(name).span();
            self.header_name(name, at);
        }
    }

    /// Headers with their values, to be set or added.
    pub(super) fn header_map(&mut self, headers: &BTreeMap<String, String>, place: &Place<'_>) {
        self.header_names(headers.keys(), place);
        for (name, value) in headers {
            if !text::is_header_value(value) {
                let message = "no header can have this value";
                self.error("bad-header", place.key(name).span(), message);
            }
        }
    }

    /// Names that are set: valid, not framing, and each only once whatever its case.
    pub(super) fn header_names<'n>(
        &mut self,
        names: impl Iterator<Item = &'n String>,
        place: &Place<'_>,
    ) {
        let mut seen = std::collections::BTreeSet::new();
        for name in names {
            let at = place.key(name).key_span();
            if !seen.insert(name.to_ascii_lowercase()) {
                let message = format!("the header `{name}` stands here twice: case does not count");
                self.error("duplicate-header", at.clone(), message);
            }
            self.header_name(name, at);
        }
    }

    fn header_name(&mut self, name: &str, span: std::ops::Range<usize>) {
        let lower = name.to_ascii_lowercase();
        if !text::is_token(name) {
            self.error("bad-header", span, "this is no name of a header");
        } else if lower == "host" {
            let item =
                Diagnostic::error("framing-header", span, "`Host` is not changed as a header")
                    .help("write rewrite = { host = \"...\" }");
            self.pass.findings.push(item);
        } else if FRAMING.contains(&lower.as_str()) {
            let message = "this header belongs to the connection and is not the route's to change";
            self.error("framing-header", span, message);
        }
    }
}
