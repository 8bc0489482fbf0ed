//! May it pass: what can refuse or annotate a request, one file each.
//!
//! Built from a route's config by `snapshot`, asked by `decision` in its fixed order. A policy never answers by itself.

pub mod body_size;
pub mod client;
pub mod cors;
pub mod ip_filter;
pub mod jwt;
mod networks;
pub mod rate_limit;
