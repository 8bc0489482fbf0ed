//! Patterns as they are written, for logs, the status API and `explain`.

use std::fmt::{self, Display, Formatter};

use super::{HostPattern, PathPattern, Segment};

impl Display for HostPattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(name) => write!(f, "*.{name}"),
        }
    }
}

impl Display for PathPattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => f.write_str(path),
            Self::Prefix(segments) => {
                segments.iter().try_for_each(|segment| write!(f, "/{segment}"))?;
                f.write_str("/**")
            }
            Self::Regex(regex) => f.write_str(regex.as_str()),
            Self::Template(segments) => {
                segments.iter().try_for_each(|segment| write!(f, "/{segment}"))
            }
        }
    }
}

impl Display for Segment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => f.write_str(text),
            Self::Parameter(name) => write!(f, "{{{name}}}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_shows_as_it_was_written() {
        for path in ["/", "/a", "/a/", "/**", "/a/**", "/a/{id}", "/a/{id}/b/**"] {
            assert_eq!(path.parse::<PathPattern>().unwrap().to_string(), path);
        }
        for host in ["api.example.com", "*.example.com"] {
            assert_eq!(host.parse::<HostPattern>().unwrap().to_string(), host);
        }
    }
}
