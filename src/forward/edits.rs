//! The headers that a route sets, adds and removes.

use http::{HeaderName, HeaderValue};
use pingora::{
    BError,
    http::{RequestHeader, ResponseHeader},
};

use crate::config::HeaderEdits;

/// Changes to headers, ready to be applied: removed first, then set, then added.
#[derive(Debug, Default)]
pub struct Edits {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
}

/// A header that cannot be one.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a header name or has a value that no header can have")]
pub struct BadEdit(String);

impl Edits {
    /// Fails on a name or a value that HTTP does not allow.
    pub fn new(config: &HeaderEdits) -> Result<Self, BadEdit> {
        let pair = |(name, value): (&String, &String)| {
            let bad = || BadEdit(name.clone());
            Ok((
                HeaderName::try_from(name).map_err(|_| bad())?,
                HeaderValue::try_from(value).map_err(|_| bad())?,
            ))
        };
        let name = |name: &String| HeaderName::try_from(name).map_err(|_| BadEdit(name.clone()));
        Ok(Self {
            remove: config.remove.iter().map(name).collect::<Result<_, _>>()?,
            set: config.set.iter().map(pair).collect::<Result<_, _>>()?,
            add: config.add.iter().map(pair).collect::<Result<_, _>>()?,
        })
    }
}

/// pingora's two heads have the same methods and no trait in common.
macro_rules! apply {
    ($method:ident, $head:ty) => {
        impl Edits {
            /// Removes, sets and adds, in this order.
            pub fn $method(&self, head: &mut $head) -> Result<(), BError> {
                for name in &self.remove {
                    head.remove_header(name);
                }
                for (name, value) in &self.set {
                    head.insert_header(name, value.clone())?;
                }
                for (name, value) in &self.add {
                    head.append_header(name, value.clone())?;
                }
                Ok(())
            }
        }
    };
}

apply!(apply_to_request, RequestHeader);
apply!(apply_to_response, ResponseHeader);
