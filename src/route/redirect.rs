//! Where a route sends the client instead of an upstream.
//!
//! Built with the route; called by `answer`. Never sends a client to a place that is named by the path or the query
//! alone: where no host is known, the location is a path.

use http::StatusCode;

use super::{
    host::{BadHost, Host, normalise_host},
    new_path::{BadNewPath, NewPath},
};
use crate::config::{self, PathPattern};

/// The redirect of a route, ready to run.
#[derive(Debug)]
pub struct Redirect {
    status: StatusCode,
    scheme: Option<&'static str>,
    /// With a port where it needs one.
    host: Option<Box<str>>,
    path: NewPath,
}

/// Why a redirect cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRedirect {
    #[error("`{0}`: {1}")]
    Host(String, #[source] BadHost),
    #[error(
        "a redirect has to change the scheme, the host or the path, or clients come back for ever"
    )]
    Nowhere,
    #[error(transparent)]
    Path(#[from] BadNewPath),
    #[error("the scheme is `http` or `https`, not `{0}`")]
    Scheme(String),
    #[error("the status of a redirect is 301, 302, 303, 307 or 308, not {0}")]
    Status(u16),
}

// === impl Redirect ===

impl Redirect {
    /// Builds the redirect of a route whose path is `pattern`.
    pub fn new(written: &config::Redirect, pattern: &PathPattern) -> Result<Self, BadRedirect> {
        let path = match (&written.path, pattern) {
            (None, _) => NewPath::Same,
            (Some(path), PathPattern::Prefix(_)) => NewPath::prefix(path, pattern)?,
            (Some(path), _) => NewPath::whole(path, pattern)?,
        };
        let scheme = match written.scheme.as_deref() {
            None => None,
            Some("http") => Some("http"),
            Some("https") => Some("https"),
            Some(other) => return Err(BadRedirect::Scheme(other.into())),
        };
        if scheme.is_none() && written.host.is_none() && written.path.is_none() {
            return Err(BadRedirect::Nowhere);
        }
        let host = written.host.as_deref();
        if let Some((host, Err(why))) = host.map(|host| (host, normalise_host(host))) {
            return Err(BadRedirect::Host(host.into(), why));
        }
        Ok(Self { status: status(written.status)?, scheme, host: host.map(Into::into), path })
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The `Location` for a client that asked for these. The query is kept; the port is, unless scheme or host change.
    pub fn location(
        &self,
        scheme: &str,
        host: &Host<'_>,
        path: &str,
        query: Option<&str>,
    ) -> String {
        let new_scheme = self.scheme.unwrap_or(scheme);
        let port = host.port.filter(|_| new_scheme == scheme).map(|port| format!(":{port}"));
        let port = port.as_deref().unwrap_or_default();
        let path = self.path.of(path);
        let (mark, query) = query.map_or(("", ""), |query| ("?", query));
        match self.host.as_deref() {
            Some(to) => [new_scheme, "://", to, &path, mark, query].concat(),
            None if host.name.is_empty() => [&path, mark, query].concat(),
            None => [new_scheme, "://", &host.name, port, &path, mark, query].concat(),
        }
    }
}

fn status(number: u16) -> Result<StatusCode, BadRedirect> {
    match number {
        301 | 302 | 303 | 307 | 308 => StatusCode::from_u16(number).ok(),
        _ => None,
    }
    .ok_or(BadRedirect::Status(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirect(pattern: &str, written: &str) -> Result<Redirect, BadRedirect> {
        Redirect::new(&toml::from_str(written).unwrap(), &pattern.parse().unwrap())
    }

    fn check(pattern: &str, written: &str, asked: (&str, &str, &str), expected: &str) {
        let (scheme, host, target) = asked;
        let host = if host.is_empty() { Host::default() } else { normalise_host(host).unwrap() };
        let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
        let redirect = redirect(pattern, written).unwrap();
        assert_eq!(redirect.location(scheme, &host, path, query), expected, "{written}");
    }

    #[test]
    fn what_is_not_written_is_kept() {
        let asked = ("http", "a.com:8080", "/a/b?c=d");
        check("/**", "scheme = 'https'", asked, "https://a.com/a/b?c=d");
        check("/**", "scheme = 'http'\npath = '/x'", asked, "http://a.com:8080/x/a/b?c=d");
        check("/**", "host = 'b.com'", asked, "http://b.com/a/b?c=d");
        check("/**", "scheme = 'https'\nhost = 'b.com:8443'", asked, "https://b.com:8443/a/b?c=d");
        check("/a/**", "path = '/new'", asked, "http://a.com:8080/new/b?c=d");
        check("/a/b", "path = '/new'", asked, "http://a.com:8080/new?c=d");
        check("/a/{id}", "path = '/new/{id}/'", asked, "http://a.com:8080/new/b/?c=d");
        check("/**", "host = 'b.com'", ("https", "[::1]:1", "/?"), "https://b.com/?");
        check("/**", "scheme = 'https'", ("http", "[::1]:80", "/"), "https://[::1]/");
    }

    #[test]
    fn without_a_host_the_location_is_a_path() {
        check("/**", "scheme = 'https'", ("http", "", "/a?b"), "/a?b");
        check("/a/**", "path = '/'", ("http", "", "/a/evil.com"), "/evil.com");
        check("/**", "host = 'b.com'", ("http", "", "/a"), "http://b.com/a");
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        let refused = |written| redirect("/a", written).err();
        assert_eq!(refused(""), Some(BadRedirect::Nowhere));
        assert_eq!(refused("scheme = 'ftp'"), Some(BadRedirect::Scheme("ftp".into())));
        assert_eq!(refused("path = '/b'\nstatus = 200"), Some(BadRedirect::Status(200)));
        assert_eq!(refused("host = 'a/b'"), Some(BadRedirect::Host("a/b".into(), BadHost::Name)));
        assert!(matches!(refused("path = 'b'"), Some(BadRedirect::Path(_))));
        for status in [301, 302, 303, 307, 308] {
            let redirect = redirect("/a", &format!("path = '/b'\nstatus = {status}")).unwrap();
            assert_eq!(redirect.status(), status);
        }
        assert_eq!(redirect("/a", "path = '/b'").unwrap().status(), StatusCode::FOUND);
    }
}
