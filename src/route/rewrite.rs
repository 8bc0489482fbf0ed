//! What the upstream sees instead of the path and the host that were asked for.
//!
//! Built with the route; called by `forward` once a request that has an upstream. Never touches the query.

use std::borrow::Cow;

use http::HeaderValue;

use super::{
    host::{BadHost, normalise_host},
    new_path::{BadNewPath, NewPath},
};
use crate::config::{self, PathPattern};

/// The rewrite of a route, ready to run.
#[derive(Debug)]
pub struct Rewrite {
    path: NewPath,
    host: Option<HeaderValue>,
}

/// Why a rewrite cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRewrite {
    #[error("`prefix` and `path` exclude each other")]
    Both,
    #[error("`{0}`: {1}")]
    Host(String, #[source] BadHost),
    #[error(transparent)]
    Path(#[from] BadNewPath),
}

// === impl Rewrite ===

impl Rewrite {
    /// Builds the rewrite of a route whose path is `pattern`.
    pub fn new(written: &config::Rewrite, pattern: &PathPattern) -> Result<Self, BadRewrite> {
        let path = match (&written.prefix, &written.path) {
            (Some(_), Some(_)) => return Err(BadRewrite::Both),
            (Some(prefix), None) => NewPath::prefix(prefix, pattern)?,
            (None, Some(path)) => NewPath::whole(path, pattern)?,
            (None, None) => NewPath::Same,
        };
        let host = written.host.as_deref().map(|host| match normalise_host(host) {
            // What stands in it has just been checked to be letters, digits and the like.
            Ok(_) => HeaderValue::from_str(host)
                .map_err(|_| BadRewrite::Host(host.into(), BadHost::Name)),
            Err(why) => Err(BadRewrite::Host(host.into(), why)),
        });
        Ok(Self { path, host: host.transpose()? })
    }

    /// The path that the upstream sees for one that matched, borrowed where nothing has to be put together.
    pub fn path<'a>(&'a self, path: &'a str) -> Cow<'a, str> {
        self.path.of(path)
    }

    /// The `Host` that the upstream sees, if not the client's.
    pub fn host(&self) -> Option<&HeaderValue> {
        self.host.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(written: &str) -> Result<Rewrite, BadRewrite> {
        Rewrite::new(&toml::from_str(written).unwrap(), &"/a/**".parse().unwrap())
    }

    #[test]
    fn nothing_written_changes_nothing() {
        let rewrite = rewrite("").unwrap();
        assert!(matches!(rewrite.path("/a/b"), Cow::Borrowed("/a/b")));
        assert_eq!(rewrite.host(), None);
    }

    #[test]
    fn prefix_path_and_host_are_replaced() {
        assert_eq!(rewrite("prefix = '/'").unwrap().path("/a/b"), "/b");
        assert_eq!(rewrite("path = '/c'").unwrap().path("/a/b"), "/c");
        let rewrite = rewrite("host = 'internal:8080'").unwrap();
        assert_eq!(rewrite.host().unwrap(), "internal:8080");
        assert_eq!(rewrite.path("/a/b"), "/a/b");
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        assert_eq!(rewrite("prefix = '/'\npath = '/'").err(), Some(BadRewrite::Both));
        let host = |text: &str, why| Some(BadRewrite::Host(text.into(), why));
        assert_eq!(rewrite("host = 'a b'").err(), host("a b", BadHost::Name));
        assert_eq!(rewrite("host = ''").err(), host("", BadHost::Empty));
        assert!(matches!(rewrite("path = 'c'"), Err(BadRewrite::Path(BadNewPath::NotNormal(_)))));
    }
}
