//! The headers that a route sets, adds and removes.

use http::{HeaderMap, HeaderName, HeaderValue};

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

    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
    }
}
