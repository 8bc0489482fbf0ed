//! Metrics: handles that requests count with, and the page that a scrape gets.
//!
//! Called by `snapshot` for handles, by `gateway` through them, by `admin` for the page. No label ever comes from a
//! request, and a series lives exactly as long as its handle.

mod histogram;
pub mod names;
mod page;

pub use self::page::{Labels, Page, Samples};
