//! `tollgate check`: all that is wrong with a config, without running it.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::{CONFIG_ERRORS, CONFIG_WARNINGS, config_file, say, show};
use crate::{
    reload::{Loaded, Source},
    server::tls,
    snapshot::{BuildError, Snapshot},
    telemetry::metrics::{BuildInfo, Metrics},
};

#[derive(Args)]
pub(super) struct Check {
    /// The config [default: $TOLLGATE_CONFIG, or routes.toml]
    file: Option<PathBuf>,
    /// Exit with 4 where there are warnings
    #[arg(long)]
    deny_warnings: bool,
}

impl Check {
    pub(super) fn run(self) -> ExitCode {
        let path = config_file(self.file);
        crate::crypto::install_crypto_provider();
        let found = Source::file(&path)
            .load()
            .and_then(|loaded| build(&loaded).map(|snapshot| (loaded, snapshot)));
        let (loaded, snapshot) = match found {
            Ok(found) => found,
            Err(problems) => {
                show(&problems);
                return ExitCode::from(CONFIG_ERRORS);
            }
        };
        if !loaded.warnings.is_empty() {
            show(&loaded.warnings);
        }
        let (routes, upstreams) = (snapshot.routes().len(), snapshot.upstreams().len());
        say(format_args!("{}: good: {routes} routes, {upstreams} upstreams", path.display()));
        match self.deny_warnings && !loaded.warnings.is_empty() {
            true => ExitCode::from(CONFIG_WARNINGS),
            false => ExitCode::SUCCESS,
        }
    }
}

/// Builds all that a start would build, keys and certificates included.
pub(super) fn build(loaded: &Loaded) -> Result<Snapshot, crate::config::Diagnostics> {
    let metrics =
        Metrics::new(BuildInfo { version: env!("CARGO_PKG_VERSION"), revision: "", rustc: "" });
    let refused = |error: BuildError| loaded.refuse("cannot-build", error.message, error.span);
    tls::certificates(loaded)?;
    Snapshot::build(loaded.config.clone(), loaded.hash.short(), &metrics, None).map_err(refused)
}
