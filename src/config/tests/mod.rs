//! Configs from outside: the shipped one, good samples, the corpus of bad ones, and noise.

use std::path::{Path, PathBuf};

use super::*;

mod corpus;
mod docs;
mod good;
mod noise;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Parses with a few variables set, as the corpus expects them.
fn parse_text(text: &str) -> Result<Checked, Diagnostics> {
    parse("routes.toml", text, &root().join("tests/bad-configs"), &|name| match name {
        "SECRET" => Some("a-secret-from-the-environment-0123456789".into()),
        "HIDDEN" => Some("hidden-value".into()),
        "EMPTY" => Some(String::new()),
        _ => None,
    })
}
