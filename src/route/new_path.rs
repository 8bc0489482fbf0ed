//! The path that takes the place of the one that was asked for.
//!
//! Called by rewrites and redirects. Never looks for parameters unless the new path names some, and from normal paths
//! makes normal paths only.

use std::borrow::Cow;

use super::{path::normalise_path, pattern::encode};
use crate::config::{PathPattern, Segment};

/// How a path is changed.
#[derive(Debug)]
pub(super) enum NewPath {
    Same,
    /// The first `depth` segments are replaced, and the rest is kept.
    Prefix {
        depth: usize,
        to: Text,
    },
    Whole(Text),
}

/// Why a new path cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNewPath {
    /// See [`normalise_path`].
    #[error("`{0}` is not a path in normal form")]
    NotNormal(String),
    #[error("only a path that ends with `/**` has a prefix to replace")]
    NoPrefix,
    #[error("the route's path has no parameter `{{{0}}}`")]
    Parameter(String),
}

/// A path with places for the parameters of another.
#[derive(Debug)]
pub(super) struct Text(Box<[Part]>);

#[derive(Debug)]
enum Part {
    Literal(Box<str>),
    /// The segment at this position of the path that was asked for.
    Segment(usize),
}

// === impl NewPath ===

impl NewPath {
    /// Puts `text` in the place of the prefix of a `/a/**` route, as the Gateway API's `ReplacePrefixMatch` does.
    pub(super) fn prefix(text: &str, pattern: &PathPattern) -> Result<Self, BadNewPath> {
        let PathPattern::Prefix(segments) = pattern else { return Err(BadNewPath::NoPrefix) };
        let text = if text.is_empty() { "/" } else { text };
        Ok(Self::Prefix { depth: segments.len(), to: Text::parse(text, segments)? })
    }

    /// Puts `text` in the place of the whole path.
    pub(super) fn whole(text: &str, pattern: &PathPattern) -> Result<Self, BadNewPath> {
        let segments = match pattern {
            PathPattern::Prefix(segments) | PathPattern::Template(segments) => segments.as_slice(),
            PathPattern::Exact(_) | PathPattern::Regex(_) => &[],
        };
        Text::parse(text, segments).map(Self::Whole)
    }

    /// The new path. `path` is normal and has matched the pattern.
    pub(super) fn of<'a>(&'a self, path: &'a str) -> Cow<'a, str> {
        match self {
            Self::Same => path.into(),
            Self::Prefix { depth, to } => replace_prefix(path, *depth, to),
            Self::Whole(text) => text.fill(path),
        }
    }
}

fn replace_prefix<'a>(path: &'a str, depth: usize, to: &'a Text) -> Cow<'a, str> {
    let rest = path.match_indices('/').nth(depth).and_then(|(slash, _)| path.get(slash..));
    let to = to.fill(path);
    let Some(rest) = rest else { return to };
    // The rest begins with a slash of its own.
    match to.strip_suffix('/').unwrap_or(&to) {
        "" => rest.into(),
        to => [to, rest].concat().into(),
    }
}

// === impl Text ===

impl Text {
    fn parse(text: &str, segments: &[Segment]) -> Result<Self, BadNewPath> {
        let mut parts = Vec::new();
        // The same text with parameters filled in, to look at it as the upstream will.
        let mut sample = String::new();
        let mut rest = text;
        while let Some((literal, tail)) = rest.split_once('{') {
            let (name, tail) =
                tail.split_once('}').ok_or_else(|| BadNewPath::NotNormal(text.into()))?;
            let position = segments.iter().position(|s| *s == Segment::Parameter(name.into()));
            let position = position.ok_or_else(|| BadNewPath::Parameter(name.into()))?;
            sample.extend([encode(literal).as_str(), "x"]);
            parts.extend([Part::Literal(encode(literal).into()), Part::Segment(position)]);
            rest = tail;
        }
        sample.push_str(&encode(rest));
        parts.push(Part::Literal(encode(rest).into()));
        match normalise_path(&sample) {
            Ok(Cow::Borrowed(_)) => Ok(Self(parts.into())),
            _ => Err(BadNewPath::NotNormal(text.into())),
        }
    }

    fn fill(&self, path: &str) -> Cow<'_, str> {
        if let [Part::Literal(text)] = &*self.0 {
            return Cow::Borrowed(text);
        }
        let mut filled = String::new();
        for part in &self.0 {
            filled.push_str(match part {
                Part::Literal(text) => text,
                Part::Segment(position) => path.split('/').nth(position + 1).unwrap_or_default(),
            });
        }
        filled.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> PathPattern {
        text.parse().unwrap()
    }

    fn check_prefix(at: &str, to: &str, path: &str, expected: &str) {
        let new = NewPath::prefix(to, &pattern(at)).unwrap();
        assert_eq!(new.of(path), expected, "{at} -> {to}: {path}");
    }

    fn check_whole(at: &str, to: &str, path: &str, expected: &str) {
        let new = NewPath::whole(to, &pattern(at)).unwrap();
        assert_eq!(new.of(path), expected, "{at} -> {to}: {path}");
    }

    #[test]
    fn prefix_is_replaced_by_whole_segments() {
        for (to, path, expected) in [
            ("/xyz", "/foo/bar", "/xyz/bar"),
            ("/xyz/", "/foo/bar", "/xyz/bar"),
            ("/xyz", "/foo", "/xyz"),
            ("/xyz", "/foo/", "/xyz/"),
            ("/xyz/", "/foo", "/xyz/"),
            ("/xyz/", "/foo/", "/xyz/"),
            ("", "/foo/bar", "/bar"),
            ("", "/foo/", "/"),
            ("", "/foo", "/"),
            ("/", "/foo/bar/", "/bar/"),
            ("/", "/foo/", "/"),
            ("/", "/foo", "/"),
            ("/x/y", "/foo/foo/bar", "/x/y/foo/bar"),
        ] {
            check_prefix("/foo/**", to, path, expected);
        }
        check_prefix("/**", "/v2", "/a/b", "/v2/a/b");
        check_prefix("/**", "/v2", "/", "/v2/");
        check_prefix("/a/b/**", "/c", "/a/b/d", "/c/d");
        check_prefix("/t/{tenant}/**", "/{tenant}/v2", "/t/x/orders/1", "/x/v2/orders/1");
        check_prefix("/t/{tenant}/**", "/{tenant}", "/t/x", "/x");
    }

    #[test]
    fn stripped_prefix_is_borrowed() {
        let new = NewPath::prefix("/", &pattern("/foo/**")).unwrap();
        assert!(matches!(new.of("/foo/bar"), Cow::Borrowed("/bar")));
        assert!(matches!(new.of("/foo"), Cow::Borrowed("/")));
        assert!(matches!(NewPath::Same.of("/foo"), Cow::Borrowed("/foo")));
    }

    #[test]
    fn whole_path_takes_parameters() {
        check_whole("/a", "/b/c/", "/a", "/b/c/");
        check_whole(
            "/u/{id}/p/{post}",
            "/posts/{post}/by/{id}",
            "/u/7/p/a%20b",
            "/posts/a%20b/by/7",
        );
        check_whole("/u/{id}", "/user-{id}.json", "/u/7", "/user-7.json");
        check_whole("/t/{x}/**", "/{x}", "/t/1/2/3", "/1");
        check_whole("/a", "/café", "/a", "/caf%C3%A9");
    }

    #[test]
    fn what_would_make_no_path_is_refused() {
        let not_normal = |text: &str| Some(BadNewPath::NotNormal(text.into()));
        for to in ["", "b", "/a//b", "/../b", "/a%2fb", "/%61", "/%", "/{", "/a?b=c{id}", "{id}"] {
            assert_eq!(NewPath::whole(to, &pattern("/a/{id}")).err(), not_normal(to), "{to}");
        }
        let parameter = Some(BadNewPath::Parameter("id".into()));
        assert_eq!(NewPath::whole("/{id}", &pattern("/a")).err(), parameter);
        assert_eq!(NewPath::prefix("/{id}", &pattern("/{x}/**")).err(), parameter);
        assert_eq!(NewPath::prefix("/b", &pattern("/a")).err(), Some(BadNewPath::NoPrefix));
        assert_eq!(NewPath::prefix("/b", &pattern("/a/{id}")).err(), Some(BadNewPath::NoPrefix));
    }
}
