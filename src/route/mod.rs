//! Finds the route of a request, and brings hosts and paths into the form that they are matched in.
//!
//! Called by `gateway` (normal forms), `decision` and `explain` (the table), `forward` (rewrites) and `answer`
//! (redirects). Never looks at a body or at anything that changes between two requests.

mod candidates;
mod host;
mod index;
mod new_path;
mod path;
mod pattern;
mod predicates;
mod redirect;
mod rewrite;
mod segments;
mod shape;
mod slots;
mod table;
#[cfg(test)]
mod tests;

pub use host::{BadHost, Host, normalise_host};
pub use new_path::BadNewPath;
pub use path::{BadPath, normalise_path};
pub use pattern::{BadPattern, normalise_pattern};
pub use predicates::BadPredicate;
pub use redirect::{BadRedirect, Redirect};
pub use rewrite::{BadRewrite, Rewrite};
pub use table::{BadRoute, Table};

/// What routes are matched on.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub method: &'a http::Method,
    /// [`Host::name`]; empty when the request names none.
    pub host: &'a str,
    /// What [`normalise_path`] returned.
    pub path: &'a str,
    /// What follows `?`, as it came.
    pub query: Option<&'a str>,
    pub headers: &'a http::HeaderMap,
}

/// Whether a request has a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// By its position in the file.
    Route(usize),
    /// Some route matches but for the method; [`Table::allowed`] has those that it could be.
    MethodNotAllowed,
    NoRoute,
}

/// Why a route is not the one of a request: the first of its predicates that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch<'a> {
    Host,
    Path,
    Method,
    Header(&'a http::HeaderName),
    Query(&'a str),
    Cookie(&'a str),
    /// None: another route precedes it.
    Outranked,
}
