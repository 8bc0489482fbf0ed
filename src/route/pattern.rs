//! Where a route stands: its hosts and its path pattern, in the normal form that requests are brought into.
//!
//! Called when a table is built, by whoever checks a config, and by `explain`. Never on the way of a request.

use super::{
    Mismatch,
    host::normalise_host,
    path::{BadPath, is_path_character, normalise_path},
};
use crate::config::{self, HostPattern, PathPattern, Segment};

/// The hosts and the path of one route.
pub(super) struct Place {
    /// Empty is any host. No two are alike.
    pub(super) hosts: Vec<HostPattern>,
    pub(super) path: PathPattern,
}

/// Why no request could ever match a path pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    #[error("`.` and `..` are resolved before paths are matched")]
    Dots,
    #[error("slashes in a row are merged before paths are matched")]
    EmptySegment,
    #[error(transparent)]
    Path(#[from] BadPath),
}

/// Brings the literals of a pattern into the form that paths are in when they are matched: characters that no path has
/// are percent-encoded, and escapes written as requests will have them. Fails where no request could match.
pub fn normalise_pattern(pattern: &PathPattern) -> Result<PathPattern, BadPattern> {
    Ok(match pattern {
        PathPattern::Exact(text) => {
            let segments = text.split('/').skip(1).map(|text| Segment::Literal(text.into()));
            PathPattern::Exact(join(&normalise_segments(&segments.collect::<Vec<_>>(), true)?))
        }
        PathPattern::Prefix(segments) => PathPattern::Prefix(normalise_segments(segments, false)?),
        PathPattern::Regex(regex) => PathPattern::Regex(regex.clone()),
        PathPattern::Template(segments) => {
            PathPattern::Template(normalise_segments(segments, true)?)
        }
    })
}

/// Segments as a path; a parameter becomes a segment of no meaning.
pub(super) fn join(segments: &[Segment]) -> String {
    let mut path = String::new();
    for segment in segments {
        path.extend(match segment {
            Segment::Literal(text) => ["/", text],
            Segment::Parameter(_) => ["/", "x"],
        });
    }
    path
}

/// Percent-encodes what may not stand in a path, but for what means something else there or has to be refused.
pub(super) fn encode(text: &str) -> String {
    use std::fmt::Write;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let left = matches!(byte, b'/' | b'%' | b'?' | b'#' | b'\\') || byte.is_ascii_control();
        if left || is_path_character(byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Only the last segment may be empty, and only where `slash_at_end` says so.
fn normalise_segments(
    segments: &[Segment],
    slash_at_end: bool,
) -> Result<Vec<Segment>, BadPattern> {
    let last = segments.len().saturating_sub(1);
    segments
        .iter()
        .enumerate()
        .map(|(position, segment)| match segment {
            Segment::Literal(text) if text.is_empty() && !(slash_at_end && position == last) => {
                Err(BadPattern::EmptySegment)
            }
            Segment::Literal(text) => normalise_literal(text).map(Segment::Literal),
            Segment::Parameter(name) => Ok(Segment::Parameter(name.clone())),
        })
        .collect()
}

fn normalise_literal(text: &str) -> Result<String, BadPattern> {
    let path = format!("/{}", encode(text));
    match normalise_path(&path) {
        Ok(path) if text.is_empty() || path.len() > 1 => Ok(path.chars().skip(1).collect()),
        Ok(_) | Err(BadPath::AboveRoot) => Err(BadPattern::Dots),
        Err(why) => Err(why.into()),
    }
}

// === impl Place ===

impl Place {
    pub(super) fn new(route: &config::Route) -> Result<Self, BadPattern> {
        let mut hosts = Vec::new();
        for host in route.host.iter().map(|host| normalise_host_pattern(host)) {
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        Ok(Self { hosts, path: normalise_pattern(&route.path)? })
    }

    /// Compares directly, for a route that the table did not yield as a candidate.
    pub(super) fn mismatch(&self, host: &str, path: &str) -> Option<Mismatch<'static>> {
        if !self.hosts.is_empty() && !self.hosts.iter().any(|pattern| host_matches(pattern, host)) {
            return Some(Mismatch::Host);
        }
        (!path_matches(&self.path, path)).then_some(Mismatch::Path)
    }
}

/// An address has several spellings; requests come with the shortest.
fn normalise_host_pattern(pattern: &HostPattern) -> HostPattern {
    match pattern {
        HostPattern::Exact(name) => HostPattern::Exact(
            normalise_host(name).map_or_else(|_| name.clone(), |host| host.name.into_owned()),
        ),
        HostPattern::Wildcard(name) => HostPattern::Wildcard(name.clone()),
    }
}

fn host_matches(pattern: &HostPattern, host: &str) -> bool {
    match pattern {
        HostPattern::Exact(name) => name == host,
        HostPattern::Wildcard(name) => {
            host.strip_suffix(name.as_str()).is_some_and(|front| front.ends_with('.'))
        }
    }
}

fn path_matches(pattern: &PathPattern, path: &str) -> bool {
    let is = |(segment, text): (&Segment, &str)| match segment {
        Segment::Literal(literal) => literal == text,
        Segment::Parameter(_) => !text.is_empty(),
    };
    let texts = || path.split('/').skip(1);
    match pattern {
        PathPattern::Exact(text) => text == path,
        PathPattern::Prefix(segments) => {
            texts().count() >= segments.len() && segments.iter().zip(texts()).all(is)
        }
        PathPattern::Regex(regex) => regex.is_match(path),
        PathPattern::Template(segments) => {
            texts().count() == segments.len() && segments.iter().zip(texts()).all(is)
        }
    }
}
