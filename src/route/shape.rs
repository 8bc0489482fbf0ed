//! The shape of a path pattern: how many segments it has, and which of them are parameters.
//!
//! Called by the index, for each shape that the patterns of a host have. Never backtracks: a shape says where in a path
//! the literals stand, so that they can be looked up.

use std::cmp::Reverse;

use super::{pattern::join, segments::Segments};
use crate::config::{PathPattern, Segment};

/// What patterns that differ in their literals alone have in common. The lesser takes precedence.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shape {
    kind: Kind,
    depth: Reverse<usize>,
    /// Whether a segment is a parameter: false, a literal, comes first.
    parameters: Box<[bool]>,
    /// Follows from the parameters.
    literals: Box<[Run]>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Template,
    Prefix,
}

/// Literal segments in a row, from one number up to but not including another.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    from: usize,
    to: usize,
}

// === impl Shape ===

impl Shape {
    /// The shape of a pattern and a path that the pattern matches. Whole paths and regular expressions have none.
    pub(super) fn of(pattern: &PathPattern) -> Option<(Self, String)> {
        match pattern {
            PathPattern::Prefix(segments) => {
                Some((Self::new(Kind::Prefix, segments), join(segments)))
            }
            PathPattern::Exact(_) | PathPattern::Regex(_) => None,
            PathPattern::Template(segments) => {
                Some((Self::new(Kind::Template, segments), join(segments)))
            }
        }
    }

    fn new(kind: Kind, segments: &[Segment]) -> Self {
        let parameters: Box<[bool]> =
            segments.iter().map(|segment| matches!(segment, Segment::Parameter(_))).collect();
        let literals = parameters.chunk_by(|before, after| before == after).scan(0, |to, run| {
            let from = *to;
            *to += run.len();
            Some((run.first() == Some(&false)).then_some(Run { from, to: *to }))
        });
        let literals = literals.flatten().collect();
        Self { kind, depth: Reverse(segments.len()), parameters, literals }
    }

    /// Whether a path may match, going by the number of its segments, and by the last where it is empty.
    pub(super) fn fits(&self, path: &Segments<'_>) -> bool {
        let (Reverse(own), depth) = (self.depth, path.count());
        let ends_in_parameter = || own == depth && self.parameters.last() == Some(&true);
        let fits = match self.kind {
            Kind::Template => own == depth,
            Kind::Prefix => own <= depth,
        };
        fits && !(path.last_is_empty() && ends_in_parameter())
    }

    /// What stands in a fitting path where the pattern has literals: put together, its literals when it matches.
    pub(super) fn literals<'p>(&self, path: &Segments<'p>) -> impl Iterator<Item = &'p str> {
        self.literals.iter().map(|run| path.between(run.from, run.to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(pattern: &str) -> (Shape, String) {
        Shape::of(&pattern.parse().unwrap()).unwrap()
    }

    fn check(pattern: &str, path: &str, expected: &[&str]) {
        let (shape, sample) = shape(pattern);
        assert!(shape.fits(&Segments::of(path)), "{pattern} {path}");
        for path in [path, &sample] {
            let literals: Vec<_> = shape.literals(&Segments::of(path)).collect();
            assert_eq!(literals, expected, "{pattern} {path}");
        }
    }

    #[test]
    fn literals_of_a_matching_path_are_those_of_the_pattern() {
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
        let fits = |pattern, path| shape(pattern).0.fits(&Segments::of(path));
        for (pattern, path) in [("/a/{x}", "/a/"), ("/a/{x}/**", "/a/"), ("/{x}", "/")] {
            assert!(!fits(pattern, path), "{pattern}");
        }
        assert!(fits("/a/{x}/**", "/a/b/"));
    }

    #[test]
    fn shapes_are_ordered_by_precedence() {
        let patterns = [
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
