//! Whether a request carries a token that an issuer signed, and whether its claims allow the route.
//!
//! `decision` calls [`JwtPolicy::check`]; `snapshot` builds [`Issuer`] and [`JwtPolicy`] from the config. A check never
//! fetches a key, reads a clock or the disk, and takes nothing from the token's header but which of our keys to try
//! (RFC 8725).

mod algorithm;
mod cache;
mod claims;
mod issuer;
mod json;
mod jwk;
mod key;
mod key_error;
mod keys;
mod policy;
mod refusal;
mod token;

pub use claims::Claims;
pub use issuer::Issuer;
pub use key_error::{KeyError, KeyProblem};
pub use policy::{JwtPolicy, PolicyError};
pub use refusal::{Reason, Refusal};

#[cfg(test)]
mod tests;
