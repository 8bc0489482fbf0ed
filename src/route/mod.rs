//! Finds the route of a request, and brings hosts and paths into the form that they are matched in.
//!
//! Called by `gateway` (normal forms), `decision` and `explain` (the table), `forward` (rewrites) and `answer`
//! (redirects). Never looks at a body or at anything that changes between two requests.

mod host;
mod path;

pub use host::{BadHost, Host, normalise_host};
pub use path::{BadPath, normalise_path};
