//! The form of a path pattern: how many segments it has, and which of them are parameters.
//!
//! Called by the index, for each form that the patterns of a host have. Never backtracks: a form says where in a path
//! the literals stand, so that they can be looked up.

use std::cmp::Reverse;

use super::pattern::join;
use crate::config::{PathPattern, Segment};

/// What patterns that differ in their literals alone have in common. The lesser takes precedence.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shape {
    kind: Kind,
    depth: Reverse<usize>,
    /// Whether a segment is a parameter: false, a literal, comes first.
    parameters: Box<[bool]>,
    /// Follows from the parameters.
    runs: Box<[Run]>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Exact,
    Template,
    Prefix,
}

/// Segments in a row.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    parameters: usize,
    /// After the parameters.
    literals: usize,
}

// === impl Shape ===

impl Shape {
    /// The shape of a pattern and a path that the pattern matches. Regular expressions have none.
    pub(super) fn of(pattern: &PathPattern) -> Option<(Self, String)> {
        match pattern {
            PathPattern::Exact(text) => Some((Self::new(Kind::Exact, &[]), text.clone())),
            PathPattern::Prefix(segments) => {
                Some((Self::new(Kind::Prefix, segments), join(segments)))
            }
            PathPattern::Regex(_) => None,
            PathPattern::Template(segments) => {
                Some((Self::new(Kind::Template, segments), join(segments)))
            }
        }
    }

    fn new(kind: Kind, segments: &[Segment]) -> Self {
        let parameters: Box<[bool]> =
            segments.iter().map(|segment| matches!(segment, Segment::Parameter(_))).collect();
        // A new run begins where a parameter follows a literal.
        let runs = parameters.chunk_by(|before, after| *before || !*after).map(|run| {
            let parameters = run.iter().filter(|parameter| **parameter).count();
            Run { parameters, literals: run.len() - parameters }
        });
        let runs = runs.filter(|run| run.literals > 0).collect();
        Self { kind, depth: Reverse(segments.len()), parameters, runs }
    }

    /// Whether a path of `depth` segments may match, going by their number, and by the last where it is empty.
    pub(super) fn fits(&self, path: &str, depth: usize) -> bool {
        let Reverse(own) = self.depth;
        let ends_in_parameter = || own == depth && self.parameters.last() == Some(&true);
        let fits = match self.kind {
            Kind::Exact => return true,
            Kind::Template => own == depth,
            Kind::Prefix => own <= depth,
        };
        // Within a normal path, only the last segment can be empty.
        fits && !(path.ends_with('/') && ends_in_parameter())
    }

    /// What stands in a fitting path where the pattern has literals: put together, its literals when it matches.
    pub(super) fn literals<'p>(&self, path: &'p str) -> impl Iterator<Item = &'p str> {
        let whole = if self.kind == Kind::Exact { Some(path) } else { None };
        let mut rest = path;
        let runs = self.runs.iter().map(move |run| {
            let (_, literals) = split_segments(rest, run.parameters);
            let (literals, tail) = split_segments(literals, run.literals);
            rest = tail;
            literals
        });
        whole.into_iter().chain(runs)
    }
}

/// The first `count` segments, and the others.
fn split_segments(path: &str, count: usize) -> (&str, &str) {
    if count == 0 {
        return ("", path);
    }
    let mut slashes = 0;
    let end = path.bytes().position(|byte| {
        slashes += usize::from(byte == b'/');
        slashes > count
    });
    path.split_at(end.unwrap_or(path.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(pattern: &str) -> (Shape, String) {
        Shape::of(&pattern.parse().unwrap()).unwrap()
    }

    fn check(pattern: &str, path: &str, expected: &[&str]) {
        let (shape, sample) = shape(pattern);
        assert!(shape.fits(path, path.matches('/').count()), "{pattern} {path}");
        assert_eq!(shape.literals(path).collect::<Vec<_>>(), expected, "{pattern} {path}");
        assert_eq!(shape.literals(&sample).collect::<Vec<_>>(), expected, "{pattern}");
    }

    #[test]
    fn literals_of_a_matching_path_are_those_of_the_pattern() {
        check("/a/b", "/a/b", &["/a/b"]);
        check("/a/b/", "/a/b/", &["/a/b/"]);
        check("/a/b/**", "/a/b/c/d", &["/a/b"]);
        check("/**", "/a", &[]);
        check("/{x}", "/a", &[]);
        check("/a/b/{x}", "/a/b/1", &["/a/b"]);
        check("/{x}/a/b", "/1/a/b", &["/a/b"]);
        check("/a/{x}/b/{y}/", "/a/1/b/2/", &["/a", "/b", "/"]);
        check("/a/{x}/{y}/b/c/**", "/a/1/2/b/c/d", &["/a", "/b/c"]);
    }

    #[test]
    fn parameter_fits_no_empty_segment() {
        for (pattern, path, depth) in
            [("/a/{x}", "/a/", 2), ("/a/{x}/**", "/a/", 2), ("/{x}", "/", 1)]
        {
            assert!(!shape(pattern).0.fits(path, depth), "{pattern}");
        }
        assert!(shape("/a/{x}/**").0.fits("/a/b/", 3));
    }

    #[test]
    fn shapes_are_ordered_by_precedence() {
        let patterns = [
            "/a",
            "/a/b/{x}",
            "/a/{x}/b",
            "/a/{x}/{y}",
            "/{x}/b/{y}",
            "/a/{x}",
            "/a/b/**",
            "/a/{x}/**",
            "/{x}/b/**",
            "/a/**",
            "/{x}/**",
            "/**",
        ];
        assert!(patterns.is_sorted_by(|a, b| shape(a).0 < shape(b).0));
    }
}
